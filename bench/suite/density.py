# SPDX-License-Identifier: GPL-2.0
"""How many guests fit into a fixed amount of host memory."""
import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
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
SWAPPING_GUESTS = 10    # about as many as fit with hinting
SWAP_MIB = SWAPPING_GUESTS * MEMORY_MIB
FULL, SWAPPING = 'guests of 1 GiB', f'{SWAPPING_GUESTS} guests of 1 GiB, with swap'
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


def drop_swap(path):
    subprocess.run(['swapoff', path], capture_output=True, check=False)
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def swap_file():
    """Swap of SWAP_MIB more for the time being."""
    path = guest.BUILD / 'bench/swap'
    drop_swap(path)     # left by a run that was killed
    try:
        for command in (['fallocate', '-l', f'{SWAP_MIB}M'], ['chmod', '600'], ['mkswap'],
                        ['swapon']):
            done = subprocess.run([*command, path], capture_output=True, text=True, check=False)
            if done.returncode:
                raise guest.Trouble(done.stderr.strip())
        yield
    finally:
        drop_swap(path)


@functools.cache
def can_swap():
    """Is there room, and may this user, on this file system? Says why not."""
    why = f'less than {2 * SWAP_MIB >> 10} GiB are free'
    if shutil.disk_usage(guest.BUILD).free >> 20 >= 2 * SWAP_MIB:
        try:
            with swap_file():
                return True
        except (guest.Trouble, OSError) as trouble:
            why = str(trouble)
    print(f'density: not with swap: {why}')
    return False


def swapped_out():
    """MiB that went to swap since boot, read back or not."""
    pages = re.search(r'^pswpout (\d+)', Path('/proc/vmstat').read_text(encoding='ascii'), re.M)
    return int(pages[1]) * os.sysconf('SC_PAGE_SIZE') / (1 << 20)


class Group:
    """A cgroup with a memory limit, for as long as it lasts."""

    def __init__(self, swap):
        folder, limit = find_cgroup()
        self.path = folder / f'page-hinting-{os.getpid()}'
        self.path.mkdir()
        self.limit(limit, LIMIT_MIB << 20)
        if not swap:
            self.limit('memory.swap.max', 0)                            # v2
            self.limit('memory.memsw.limit_in_bytes', LIMIT_MIB << 20)  # v1

    def limit(self, name, size):
        if (self.path / name).exists():
            (self.path / name).write_text(str(size))

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
            f'next to more others. The same with swap and {SWAPPING_GUESTS} guests, none of which '
            'is killed: what went to swap, and how long each took.')
    metrics = {'guests': ('guests', ''),
               'each_s': (f'seconds per guest, of the first {FIRST}', 's'),
               'swapped': ('swapped out', 'MiB'), 'all_s': ('seconds per guest', 's')}
    panels = ('guests', 'each_s', 'swapped')
    minutes = (60, 13)
    repetitions = (5, 1)

    def jobs(self, quick):
        return ['full', 'swap'] if can_swap() else ['full']

    def unable(self):
        if not find_cgroup():
            return 'no memory cgroup, v1 or v2, that this user may make groups in'
        return None

    def measure(self, job, key, peer, repetition):
        if job == 'full':
            freed = self.fill(job, key, peer, repetition, MOST)
            yield FULL, 'guests', len(freed)
            yield FULL, 'each_s', freed[FIRST - 1] / FIRST if len(freed) >= FIRST else None
            return
        with swap_file():
            before = swapped_out()
            freed = self.fill(job, key, peer, repetition, SWAPPING_GUESTS)
            swapped = swapped_out() - before
        if len(freed) < SWAPPING_GUESTS:
            raise guest.Trouble('a guest was killed in spite of swap')
        yield SWAPPING, 'swapped', swapped
        yield SWAPPING, 'all_s', freed[-1] / SWAPPING_GUESTS

    def fill(self, job, key, peer, repetition, most):
        """Start guests until one is killed. Returns when each had freed its memory."""
        members, threads, freed = [], [], []
        group = Group(job == 'swap')
        began = time.monotonic()
        try:
            while len(members) < most and all(member.runs() for member in members):
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
        return freed

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
        return [*self.compare(data, FULL, 'more guests than reporting at every setting',
                              ('guests', 'each_s'), lambda our, its: our > its),
                *self.compare(data, SWAPPING, 'with swap: no more swapped than reporting at any '
                              'setting', ('swapped', 'all_s'), lambda our, its: our <= its)]

    @staticmethod
    def compare(data, variant, text, metrics, better):
        """Two bars: better than all settings of reporting, and no slower."""
        keys = ('hinting', 'fpr2000', 'fpr250', 'fpr100')
        found = [[data.median(variant, key, metric) for key in keys] for metric in metrics]
        if None in sum(found, []):
            return [Bar(text, 'not measured')]
        (our, *its), (each, *others) = found
        return [Bar(text, f'{our:.0f}, reporting {", ".join(f"{n:.0f}" for n in its)}',
                    all(better(our, n) for n in its)),
                Bar(f'{variant}: at no lower speed, within 5 %',
                    f'{each:.2f} s per guest, reporting '
                    f'{", ".join(f"{s:.2f}" for s in others)}', each <= min(others) * 1.05)]
