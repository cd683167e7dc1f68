# SPDX-License-Identifier: GPL-2.0
"""Page faults of the host in a guest's RAM, counted by trace points of its kernel.

A QEMU without KVM has page faults of its own, more than those of the RAM: it allocates
the tables of its TLBs anew whenever they grow or shrink.
"""
import contextlib
import os
import re
import subprocess
from pathlib import Path

TRACEFS = Path('/sys/kernel/tracing')
EVENTS = [Path('events/exceptions') / name for name in ('page_fault_user', 'page_fault_kernel')]
# Those that are in a buffer, and those that have left it again.
LOST_OR_NOT = re.compile(r'^(?:entries|overrun): (\d+)$', re.M)


class RamFaults:
    """Counts faults of a process from start to end of a range, until it is closed.

    Only root may do that, not in every container, and other architectures have no
    such trace points: folder is None then, and so is what read() returns.
    """

    def __init__(self, pid, start, end):
        self.folder = None
        if not os.geteuid() and not (TRACEFS / 'instances').exists():
            subprocess.run(['mount', '-t', 'tracefs', 'tracefs', TRACEFS], check=False,
                           capture_output=True)
        folder = TRACEFS / 'instances' / f'page-hinting-{pid}'
        try:
            folder.mkdir()
            self.begin(folder, pid, start, end)
            self.folder = folder
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()

    @staticmethod
    def begin(folder, pid, start, end):
        threads = ' '.join(task.name for task in Path(f'/proc/{pid}/task').iterdir())
        (folder / 'set_event_pid').write_text(threads, encoding='ascii')
        (folder / 'options/event-fork').write_text('1', encoding='ascii')
        for event in EVENTS:
            (folder / event / 'filter').write_text(
                f'address >= {start:#x} && address < {end:#x}', encoding='ascii')
            (folder / event / 'enable').write_text('1', encoding='ascii')

    def read(self):
        if not self.folder:
            return None
        return sum(int(number) for stats in self.folder.glob('per_cpu/cpu*/stats')
                   for number in LOST_OR_NOT.findall(stats.read_text(encoding='ascii')))

    def close(self):
        if self.folder:
            for event in EVENTS:
                (self.folder / event / 'enable').write_text('0', encoding='ascii')
            with contextlib.suppress(OSError):
                self.folder.rmdir()
