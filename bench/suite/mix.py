# SPDX-License-Identifier: GPL-2.0
"""Host memory over time under a mix of short processes, files and lulls."""
from suite.base import Bar, Bench

MEMORY_MIB = 2048
BURSTS, JOBS, LULL_S, SEED = 4, 12, 4, 1


class Mix(Bench):
    name = 'build'
    title = 'A build-like mix: host memory over time'
    what = (f'{BURSTS} bursts of {JOBS} processes, two at a time, of 8 to 200 MiB, which leave '
            f'files behind; a lull of {LULL_S} s after each; guest of {MEMORY_MIB} MiB, 2 CPUs. '
            "GiB s of guest RAM that the host has memory for, and how far above the guest's "
            'floors: what is not free, and what is not free in blocks of 2 MiB, sampled in the '
            'guest at the same time. Faults in guest RAM: pieces that the host has to find anew. '
            'Whoever has no more than the 2 MiB floor in a lull needs as many as the next burst '
            'rises above that at its peak. See whennot for what each costs a host that is itself '
            'a guest.')
    metrics = {'host': ('host memory', 'GiB s'), 'gap_2m': ('above the 2 MiB floor', 'GiB s'),
               'gap_4k': ('above the 4 KiB floor', 'GiB s'), 'system_s': ('host system time', 's'),
               'cpu_s': ('host CPU', 's'), 'faults': ('host faults in guest RAM', ''),
               'anew': ('least that there can be, at the 2 MiB floor in lulls', ''),
               'seconds': ('duration', 's')}
    panels = ('host', 'gap_2m', 'system_s', 'faults')
    minutes = (20, 10)

    def jobs(self, quick):
        return ['mix']

    def measure(self, job, key, peer, repetition):
        watch = self.boot('mix', [MEMORY_MIB, BURSTS, JOBS, LULL_S, SEED],
                          self.out(job, key, repetition), peer, memory=MEMORY_MIB, timeout=400,
                          kind='ram', sample=True, tick=0.1)
        host = self.integral(watch) / 1024
        small, huge = (watch.values[f'floor-{what}'] / 1000 / 1024 for what in ('4k', '2m'))
        row = {'host': host, 'gap_4k': host - small, 'gap_2m': host - huge,
               'anew': watch.values['anew-2m'] / 2,
               'system_s': watch.used('begin', 'end', 'system_s'),
               'cpu_s': watch.used('begin', 'end', 'cpu_s') + watch.used('begin', 'end', 'vcpu_s'),
               'seconds': watch.marks['end'] - watch.marks['begin']}
        if watch.faults.folder:
            row['faults'] = watch.used('begin', 'end', 'ramflt')
        for metric, value in row.items():
            yield job, metric, value

    @staticmethod
    def integral(watch):
        """MiB s from begin to end; each sample stands for the time up to it."""
        last, total = watch.marks['begin'], 0
        for when, mib in watch.samples:
            if last < when <= watch.marks['end']:
                total += mib * (when - last)
                last = when
        return total

    def bars(self, data):
        ours, theirs = (data.median('mix', key, 'gap_2m') for key in ('hinting', 'fpr2000'))
        mine, shipped = (data.median('mix', key, 'system_s') for key in ('hinting', 'fpr2000'))
        if None in (ours, theirs, mine, shipped):
            return [Bar('gap to the 2 MiB floor <= 1/5 of reporting 2000 ms', 'not measured')]
        return [Bar('gap to the 2 MiB floor <= 1/5 of reporting 2000 ms',
                    f'{ours:.2f} of {theirs:.2f} GiB s', ours <= theirs / 5),
                Bar('host system time no more than reporting 2000 ms',
                    f'{mine:.2f} s, reporting {shipped:.2f} s{self.least(data)}',
                    mine <= shipped)]

    @staticmethod
    def least(data):
        faults, anew = (data.median('mix', 'hinting', metric) for metric in ('faults', 'anew'))
        if None in (faults, anew):
            return ''
        return f'; {faults:.0f} faults in guest RAM, of which {anew:.0f} at the floor, too'
