# SPDX-License-Identifier: GPL-2.0
"""What the guest's kernel has to do to give memory back, under icount: latency of
others meanwhile, locks, and how it grows with the guest.
"""
import guest
from suite.base import PEERS, PHASE_S, Bar, Bench, at_most

GIB = 1 << 30


class Latency(Bench):
    name = 'latency'
    title = 'Page faults while 1 GiB is given back'
    what = ('Under icount, one CPU: 1 GiB of huge pages is freed, and for 0.6 s of guest time one '
            'process takes page after page, each fault timed, in instructions. Reporting at 2000 '
            'ms is looked at from 1.9 s on, when it is at work.')
    metrics = {'p50': ('median', 'ns'), 'p99': ('99 %', 'ns'), 'p99.9': ('99.9 %', 'ns'),
               'p99.99': ('99.99 %', 'ns'), 'longest': ('longest', 'ns')}
    panels = ('p50', 'p99.9', 'p99.99', 'longest')
    minutes = (6, 4)
    mib, window_ms = 1024, 600
    after_ms = {'fpr2000': 1900}

    def jobs(self, quick):
        return ['fault']

    def measure(self, job, key, peer, repetition):
        args = ['latency', self.mib, self.after_ms.get(key, 20), self.window_ms]
        watch = self.boot('probe', args, self.out(job, key, repetition), peer, memory=2048,
                          smp='1', icount=True, wait=6 + PHASE_S * (repetition - 1), timeout=400)
        for metric in self.metrics:
            yield '4 KiB fault', metric, watch.values[metric]

    def bars(self, data):
        none, ours = (data.median('4 KiB fault', key, 'p99.9') for key in ('none', 'hinting'))
        if None in (none, ours):
            return [Bar('99.9th percentile <= 1.05 x no device', 'not measured')]
        return [Bar('99.9th percentile <= 1.05 x no device', f'{ours / none:.3f} x',
                    ours <= 1.05 * none)]


class Locks(Bench):
    name = 'locks'
    title = 'Locks and interrupts while memory is given back'
    what = ('Under icount, one CPU, kernel with lock_stat and the irqsoff tracer, which add their '
            'own instructions: 1 GiB of huge pages is freed, and from then on for 20 s of guest '
            'time zone->lock and interrupts are looked at. Per GiB of what the host got back '
            'meanwhile, without what the guest holds the lock for with no device.')
    flavors = ('trace',)
    metrics = {'longest': ('zone->lock, longest', 'ns'), 'per_gib': ('in all per GiB', 'us'),
               'holds': ('holds', ''), 'irqsoff': ('interrupts off, longest', 'us'),
               'returned': ('given back', 'MiB')}
    panels = ('longest', 'per_gib', 'irqsoff')
    minutes = (4, 2)

    def __init__(self):
        self.none = {}

    def jobs(self, quick):
        return ['free']

    def measure(self, job, key, peer, repetition):
        watch = self.boot('probe', ['locks', 1024, 20], self.out(job, key, repetition), peer,
                          flavor='trace', memory=2048, smp='1', icount=True, kind='process',
                          wait=6 + PHASE_S * (repetition - 1), timeout=400)
        value = watch.values
        returned = watch.usage['freed']['rss'] - watch.usage['end']['rss']
        row = {'longest': value['longest'], 'holds': value['holds'], 'irqsoff': value['irqsoff'],
               'returned': returned / (1 << 20)}
        if key == 'none':
            self.none[repetition] = value['total']
        elif returned > GIB / 10 and repetition in self.none:
            row['per_gib'] = (value['total'] - self.none[repetition]) / 1000 * GIB / returned
        for metric, number in row.items():
            yield '1 GiB THP', metric, number

    def bars(self, data):
        bars = []
        for text, metric, share in (
                ('longest hold of zone->lock <= 1/10 of reporting 2000 ms', 'longest', 0.1),
                ('in all per GiB <= 1/4 of reporting 2000 ms', 'per_gib', 0.25),
                ('longest with interrupts off <= 1/10 of reporting 2000 ms', 'irqsoff', 0.1)):
            ours, theirs = (data.median('1 GiB THP', key, metric) for key in ('hinting', 'fpr2000'))
            bars.append(Bar(text, 'not measured') if None in (ours, theirs) else
                        Bar(text, f'{ours:.0f} of {theirs:.0f}', ours <= share * theirs))
        return bars


class Scale(Bench):
    name = 'scale'
    title = 'Larger guests'
    what = ('Under icount: 512 MiB of huge pages freed, on the first CPU, in guests whose other '
            'memory was never touched, and whose interrupts go to that CPU too. Pages that the '
            'boot left in the lists of that CPU have been drained before. Instructions of the '
            'kernel threads of hinting, or of the worker of reporting (all workers, without what '
            'they use with no device), per GiB that the host got back in 10 s; context switches '
            'of hinting threads in 10 s with nothing to do. The threads of hinting also drain what '
            'was freed into page lists, which hold the more the larger a zone is and the fewer '
            'CPUs it has.')
    metrics = {'per_gib': ('instructions per GiB', 'million'),
               'threads': ('instructions', 'million'), 'returned': ('given back', 'MiB'),
               'wakeups_s': ('wake-ups when idle', '1/s')}
    panels = ('per_gib', 'returned')
    minutes = (25, 3)
    repetitions = (5, 1)    # nothing in it depends on the host
    peers = {key: PEERS[key] for key in ('none', 'fpr2000', 'fpr100', 'hinting', 'eager')}
    mib, seconds = 512, 10

    def __init__(self):
        self.none = {}

    def jobs(self, quick):
        if quick:
            return [(1, 1, 1), (16, 1, 1), (4, 4, 1), (4, 4, 4)]
        return [(1, 1, 1), (4, 1, 1), (16, 1, 1), (64, 1, 1), (4, 4, 1), (4, 16, 1), (4, 4, 2),
                (4, 4, 4)]

    @staticmethod
    def nodes(size_mib, cpus, nodes):
        """QEMU's arguments for memory, more than the host may have, and CPUs in nodes."""
        backend = 'memory-backend-ram,reserve=off'
        if nodes == 1:
            return ['-object', f'{backend},id=m,size={size_mib}M', '-machine', 'memory-backend=m']
        args = []
        for node in range(nodes):
            first, last = node * cpus // nodes, (node + 1) * cpus // nodes - 1
            args += ['-object', f'{backend},id=m{node},size={size_mib // nodes}M',
                     '-numa', f'node,memdev=m{node},cpus={first}-{last}']
        return args

    def measure(self, job, key, peer, repetition):
        if peer.balloon == 'reporting' and (job, repetition) not in self.none:
            raise guest.Trouble('no device was not measured, and what workers use then')
        gib, cpus, nodes = job
        name = f'{gib} GiB, {cpus} CPU{"s" if cpus > 1 else ""}' + (
            f', {nodes} nodes' if nodes > 1 else '')
        sockets = f',sockets={nodes}' if nodes > 1 else ''
        watch = self.boot('probe', ['scale', self.mib, self.seconds, 10],
                          self.out(f'{gib}-{cpus}-{nodes}', key, repetition), peer,
                          memory=gib * 1024, smp=f'{cpus}{sockets}', icount=True,
                          qemu_args=self.nodes(gib * 1024, cpus, nodes), kind='process',
                          wait=6 + gib / 4 + PHASE_S * (repetition - 1), timeout=900)
        returned = (watch.usage['peak']['rss'] - watch.usage['end']['rss'])
        work = watch.values['hints' if peer.balloon == 'hinting' else 'workers'] / 1e6
        if key == 'none':
            self.none[job, repetition] = work
        elif peer.balloon == 'reporting':
            work -= self.none[job, repetition]
        yield name, 'threads', work
        yield name, 'returned', returned / (1 << 20)
        yield name, 'wakeups_s', watch.values['switches'] / 10
        if returned > self.mib << 17:   # an eighth of it
            yield name, 'per_gib', work * GIB / returned

    def bars(self, data):
        found = [(data.median(v, 'hinting', 'per_gib'), v) for v in data.variants()
                 if data.measured(v, 'hinting', 'per_gib')]
        found = [row for row in found if row[0] is not None]
        idle = at_most(data, '0 wake-ups per second when idle', 'wakeups_s', 0, digits=1)
        if len(found) < 2:
            return [Bar('flat within 10 %', 'not measured'), idle]
        (low, least), (high, most) = min(found), max(found)
        return [Bar('cost per GiB flat within 10 %', f'{low:.2f} ({least}) to {high:.2f} ({most}) '
                    'million instructions', high <= 1.1 * low), idle]
