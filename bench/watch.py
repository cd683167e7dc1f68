# SPDX-License-Identifier: GPL-2.0
"""Watch the host memory of a guest while it runs step.c."""
import os
import time
from pathlib import Path

PORT = 'org.page-hinting.step'
BALLOON = '/machine/peripheral/balloon'
STATS = 'page-hinting-stats'


class Watch:
    """Samples the host memory of a guest and takes down what it tells.

    The memory is the resident set of QEMU, as ps shows it: the guest's and what
    QEMU needs itself. With exact it is the allocated blocks of the memfd that
    backs the guest's RAM and nothing else.
    """

    def __init__(self, exact, balloon):
        self.exact = exact
        self.balloon = balloon
        self.pid = None
        self.memfd = None
        self.page = os.sysconf('SC_PAGESIZE')
        self.samples, self.marks = [], {}
        self.counters = {'rest': {}, 'end': {}}
        self.host = self.qemu = None

    def start(self, process):
        self.pid = process.pid

    def find_memfd(self):
        for entry in Path(f'/proc/{self.pid}/fd').iterdir():
            if os.readlink(entry).startswith('/memfd:memory-backend-memfd'):
                return entry
        return None

    def read(self):
        """Bytes, or None as long as there is no memory yet."""
        if not self.exact:
            statm = Path(f'/proc/{self.pid}/statm').read_text(encoding='ascii')
            return int(statm.split()[1]) * self.page
        self.memfd = self.memfd or self.find_memfd()
        return os.stat(self.memfd).st_blocks * 512 if self.memfd else None

    def tick(self):
        if 'end' in self.marks:
            return
        try:
            size = self.read()
        except OSError:     # QEMU has ended: the verdict will say so
            return
        if size is not None:
            self.samples.append((time.monotonic(), size / (1 << 20)))

    def line(self, text):
        """One line of the guest, see step.c."""
        kind, name, *rest = text.split()
        if kind == 'mark':
            self.marks[name] = time.monotonic()
        elif kind == 'counter':
            self.counters[name][rest[0]] = int(rest[1])

    def end(self, qmp):
        version = qmp.ask('query-version')['qemu']
        self.qemu = f'{version["major"]}.{version["minor"]}.{version["micro"]}'
        if self.balloon != 'none':
            names = [entry['name'] for entry in qmp.ask('qom-list', path=BALLOON)]
            if STATS in names:
                stats = qmp.ask('qom-get', path=BALLOON, property=STATS)
                self.host = dict(sorted(stats.items()))

    def since_freed(self):
        """Samples and marks with the time since the host saw the mark 'freed'."""
        zero = self.marks['freed']
        return ([(when - zero, mib) for when, mib in self.samples],
                {name: when - zero for name, when in self.marks.items()})
