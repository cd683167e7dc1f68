# SPDX-License-Identifier: GPL-2.0
"""Watch a guest that runs a program of bench/: what it tells, see bench.h, and what
it costs the host meanwhile.
"""
import contextlib
import os
import re
import time
from pathlib import Path

from ramfaults import RamFaults

PORT = 'org.page-hinting.bench'
BALLOON = '/machine/peripheral/balloon'
STATS = 'page-hinting-stats'
PAGE = os.sysconf('SC_PAGESIZE')
TICK = os.sysconf('SC_CLK_TCK')
# The largest mapping of QEMU is the guest's RAM.
MAPPING = re.compile(
    r'^([0-9a-f]+)-([0-9a-f]+) .*?^Size: +(\d+) kB.*?^Rss: +(\d+) kB', re.M | re.S)


def usage(pid):
    """What a process has used so far: page faults, seconds of CPU, bytes of memory."""
    fields = Path(f'/proc/{pid}/stat').read_text(encoding='ascii').rsplit(')', 1)[1].split()
    found = {'minflt': int(fields[7]), 'user_s': int(fields[11]) / TICK,
             'system_s': int(fields[12]) / TICK, 'rss': int(fields[21]) * PAGE,
             'cpu_s': 0, 'vcpu_s': 0}
    for task in Path(f'/proc/{pid}/task').iterdir():
        with contextlib.suppress(OSError):      # it has ended
            name = (task / 'comm').read_text(encoding='ascii')
            seconds = int((task / 'schedstat').read_text(encoding='ascii').split()[0]) / 1e9
            found['vcpu_s' if name.startswith('CPU ') else 'cpu_s'] += seconds
    return found


def ram_of(pid):
    """Of the guest's RAM: first address, end, and bytes that the host has memory for."""
    text = Path(f'/proc/{pid}/smaps').read_text(encoding='ascii', errors='replace')
    found = [(int(size), int(start, 16), int(end, 16), int(rss) << 10)
             for start, end, size, rss in MAPPING.findall(text)]
    if not found:
        raise ProcessLookupError(f'QEMU, process {pid}, has just ended')
    return max(found)[1:]


class Watch:
    """Samples the host memory of a guest and takes down what it tells.

    The memory is the resident set of QEMU, as ps shows it: the guest's and what
    QEMU needs itself; see 'kinds' for others.
    """

    def __init__(self, kind='process', balloon='hinting', sample=True):
        self.kind = kind
        self.read = self.kinds[kind]
        self.balloon = balloon
        self.sample = sample
        self.pid = None
        self.memfd = None
        self.samples, self.marks, self.usage = [], {}, {}
        self.counters, self.values = {}, {}
        self.host = self.qemu = None
        self.faults = None

    def start(self, process):
        self.pid = process.pid

    def process_bytes(self):
        statm = Path(f'/proc/{self.pid}/statm').read_text(encoding='ascii')
        return int(statm.split()[1]) * PAGE

    def memfd_bytes(self):
        """The allocated blocks of the memfd behind the guest's RAM; None before."""
        for entry in [] if self.memfd else Path(f'/proc/{self.pid}/fd').iterdir():
            if os.readlink(entry).startswith('/memfd:memory-backend-memfd'):
                self.memfd = entry
        return os.stat(self.memfd).st_blocks * 512 if self.memfd else None

    def ram_bytes(self):
        return ram_of(self.pid)[2]

    kinds = {'process': process_bytes, 'memfd': memfd_bytes, 'ram': ram_bytes}

    def tick(self):
        if not self.sample or 'end' in self.marks:
            return
        try:
            size = self.read(self)
        except OSError:     # QEMU has ended: the verdict will say so
            return
        if size is not None:
            self.samples.append((time.monotonic(), size / (1 << 20)))

    def line(self, text):
        """One line of the guest, see bench.h; a mark is answered."""
        kind, name, *rest = text.split()
        if kind == 'mark':
            self.marks[name] = time.monotonic()
            self.usage[name] = usage(self.pid)
            if self.kind == 'ram':
                self.faults = self.faults or RamFaults(self.pid, *ram_of(self.pid)[:2])
                self.usage[name]['ramflt'] = self.faults.read()
            return b'\n'
        if kind == 'counter':
            self.counters.setdefault(name, {})[rest[0]] = int(rest[1])
        elif kind == 'value':
            self.values[name] = int(rest[0])
        return None

    def close(self):
        if self.faults:
            self.faults.close()

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

    def used(self, begin, end, what):
        """What the process used between two marks."""
        return self.usage[end][what] - self.usage[begin][what]

    def counted(self, begin, end, name):
        """How much a counter of the guest grew between two marks."""
        return (self.counters.get(end, {}).get(name, 0) -
                self.counters.get(begin, {}).get(name, 0))
