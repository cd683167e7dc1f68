# SPDX-License-Identifier: GPL-2.0
"""How soon memory that a guest frees is back."""
import json
import subprocess
import sys

import guest
from figures import QUANTILES
from suite.base import BASE, Bench, SETTLE_S, at_most

TOUCHED = 0.6
SPARE_MIB = 2048        # of the host, beyond the guest
TIMEOUT = 400
WATCH_S = 9


class Step(Bench):
    name = 'step'
    title = 'Touch and free 60 % of a guest'
    what = ('Seconds from the return of munmap() until that share of the memory is back on the '
            'host for good, and what is left after 8 s above what was there before. A time below '
            'zero: it was back before munmap() had returned.')
    metrics = {f't{q}': (f'{q} % back', 's') for q in QUANTILES}
    metrics['left_mib'] = ('left after 8 s', 'MiB')
    panels = ('t50', 't90', 't99', 'left_mib')
    minutes = (50, 12)

    def jobs(self, quick):
        jobs = [(2048, '4k'), (2048, 'thp'), (4096, 'thp'), (16384, 'thp')]
        return jobs[:2] if quick else [job for job in jobs if self.fits(job[0])]

    @staticmethod
    def fits(size):
        with open('/proc/meminfo', encoding='ascii') as file:
            free = next(int(line.split()[1]) for line in file if line.startswith('MemAvailable'))
        if free / 1024 > TOUCHED * size + SPARE_MIB:
            return True
        print(f'step: this machine has no memory for a guest of {size} MiB', file=sys.stderr)
        return False

    def measure(self, job, key, peer, repetition):
        size, pages = job
        out = self.out(f'{size}-{pages}', key, repetition).with_suffix('.csv')
        out.parent.mkdir(parents=True, exist_ok=True)
        command = [guest.TOP / 'bench/step', '--base', BASE, '--out', out, '--memory', str(size),
                   '--mib', str(int(TOUCHED * size)), '--balloon', peer.balloon,
                   '--append', f'no_timer_check {peer.append}', '--label', peer.title,
                   '--seconds', str(WATCH_S),
                   *(['--thp'] if pages == 'thp' else []),
                   *[f'--setting={text}' for text in peer.settings(SETTLE_S + size / 4096)]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT,
                              check=False)
        if done.returncode:
            raise guest.Trouble((done.stderr.strip().splitlines() or ['bench/step failed'])[-1])
        figures = json.loads(out.with_suffix('.json').read_text())['figures']
        for metric in self.metrics:
            yield f'{size // 1024} GiB {pages}', metric, figures[metric]

    def bars(self, data):
        return [at_most(data, 't90 <= 0.15 s', 't90', 0.15),
                at_most(data, 't99 <= 0.25 s', 't99', 0.25),
                # The bar is given for 1 GiB: what may be left does not grow with the guest.
                at_most(data, 'residue <= 4 MiB', 'left_mib', 4, digits=1)]
