# SPDX-License-Identifier: GPL-2.0
"""How many guests fit into a fixed amount of host memory."""
import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import guest
from suite.base import Bar, Bench
from watch import Watch

LIMIT_MIB = 2048
MEMORY_MIB, TOUCH_MIB = 1024, 600
MOST = 14
FIRST = 6       # fit with every setting of reporting
PAUSE_S = 1.0
FOREVER_S = 3600
LONGEST_S = 120
VARIANT = 'guests of 1 GiB'
V1 = Path('/sys/fs/cgroup/memory')
V2 = Path('/sys/fs/cgroup')


def find_cgroup():
    """The folder to make a group in, and the file of its limit; None without."""
    if (V1 / 'memory.limit_in_bytes').exists() and os.access(V1, os.W_OK):
        return V1, 'memory.limit_in_bytes'
    control = V2 / 'cgroup.subtree_control'
    if control.exists() and 'memory' in control.read_text().split() and os.access(V2, os.W_OK):
        return V2, 'memory.max'
    return None


class Group:
    """A cgroup with a memory limit, for as long as it lasts."""

    def __init__(self):
        folder, limit = find_cgroup()
        self.path = folder / f'page-hinting-{os.getpid()}'
        self.path.mkdir()
        (self.path / limit).write_text(str(LIMIT_MIB << 20))
        if (self.path / 'memory.swap.max').exists():
            (self.path / 'memory.swap.max').write_text('0')

    def add(self, process):
        (self.path / 'cgroup.procs').write_text(str(process.pid))

    def close(self):
        for _ in range(100):        # the last process may not be gone yet
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.1)


class Member(Watch):
    """A guest in the group; says when it has freed its memory."""

    def __init__(self, group):
        super().__init__(sample=False)
        self.group = group
        self.process = None
        self.freed = threading.Event()

    def start(self, process):
        super().start(process)
        self.process = process
        self.group.add(process)

    def line(self, text):
        answer = super().line(text)
        if text == 'mark freed':
            self.freed.set()
        return answer

    def runs(self):
        return self.process is None or self.process.poll() is None


class Density(Bench):
    name = 'density'
    title = 'How many guests fit'
    what = (f'Guests of {MEMORY_MIB} MiB in a memory cgroup of {LIMIT_MIB} MiB without swap, one '
            f'started {PAUSE_S:.0f} s after the one before has touched {TOUCH_MIB} MiB and freed '
            f'it: how many have done so when the first is killed (looked at up to {MOST}), and how '
            f'long each of the first {FIRST} took to boot, settle, touch and free: later ones run '
            'next to more others.')
    metrics = {'guests': ('guests', ''),
               'each_s': (f'seconds per guest, of the first {FIRST}', 's')}
    panels = ('guests', 'each_s')
    minutes = (30, 6)
    repetitions = (5, 1)

    def jobs(self, quick):
        return ['cgroup']

    def unable(self):
        if not find_cgroup():
            return 'no memory cgroup, v1 or v2, that this user may make groups in'
        return None

    def measure(self, job, key, peer, repetition):
        group, members, threads, freed = Group(), [], [], []
        began = time.monotonic()
        try:
            while len(members) < MOST and all(member.runs() for member in members):
                members.append(Member(group))
                out = self.out(job, key, f'{repetition}-{len(members)}')
                threads.append(threading.Thread(target=self.one, args=(peer, out, members[-1])))
                threads[-1].start()
                self.wait(members)
                if members[-1].freed.is_set():
                    freed.append(time.monotonic() - began)
            self.check(members)
        finally:
            for member in members:
                if member.process and member.runs():
                    member.process.send_signal(signal.SIGKILL)
            for thread in threads:
                thread.join()
            group.close()
        yield VARIANT, 'guests', len(freed)
        yield VARIANT, 'each_s', freed[FIRST - 1] / FIRST if len(freed) >= FIRST else None

    def one(self, peer, out, member):
        with contextlib.suppress(guest.Trouble):    # it is killed in the end
            self.boot('step', [TOUCH_MIB, '4k', FOREVER_S], out, peer, watch=member,
                      memory=MEMORY_MIB, timeout=FOREVER_S, wait=1)

    @staticmethod
    def check(members):
        """It is the limit that ends a guest, and nothing else."""
        for number, member in enumerate(members, 1):
            if not member.runs() and member.process.returncode != -signal.SIGKILL:
                raise guest.Trouble(f'guest {number} ended with {member.process.returncode}')

    @staticmethod
    def wait(members):
        end = time.monotonic() + LONGEST_S
        while not members[-1].freed.wait(0.05) and all(member.runs() for member in members):
            if time.monotonic() > end:
                raise guest.Trouble(f'guest {len(members)} has freed nothing in {LONGEST_S} s')
        time.sleep(PAUSE_S)

    def bars(self, data):
        keys = ('hinting', 'fpr2000', 'fpr250', 'fpr100')
        count = [data.median(VARIANT, key, 'guests') for key in keys]
        each = [data.median(VARIANT, key, 'each_s') for key in keys]
        if None in count + each:
            return [Bar('more guests than reporting at every setting', 'not measured')]
        return [Bar('more guests than reporting at every setting',
                    f'{count[0]:.0f}, reporting {", ".join(f"{c:.0f}" for c in count[1:])}',
                    count[0] > max(count[1:])),
                Bar('at no lower speed', f'{each[0]:.1f} s per guest, reporting '
                    f'{", ".join(f"{s:.1f}" for s in each[1:])}', each[0] <= min(each[1:]) * 1.05)]
