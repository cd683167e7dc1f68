# SPDX-License-Identifier: GPL-2.0
"""Instructions of loops that allocate and free, counted by the guest's clock."""
from suite.base import PEERS, PHASE_S, SETTLE_S, UNBUILT, Bar, Bench

# Name: rounds, for longer than reporting waits, and frees per round that come to the buddy.
LOOPS = {'fault1': (30, 32768), 'fault2': (20, 32768), 'thp': (120, 64), 'hugetlb': (2000, 64),
         'skb': (20000, None)}
REST_S = 20
GROWTH_MIB = 16     # from repetition to repetition


class Overhead(Bench):
    name = 'overhead'
    title = 'Instructions of loops that allocate and free'
    what = ('Under icount, one CPU: the loop itself, and the kernel threads until all is quiet '
            f'({REST_S} s). fault1: 128 MiB anonymous memory mapped, touched, unmapped; fault2: a '
            'private file mapping; thp: huge pages; hugetlb: the pool grown and shrunk by 64 '
            'pages; skb: datagrams of 32 KiB. In per cent over the same source without '
            'CONFIG_PAGE_HINTING. The median over phases of the tick, and over sizes of the guest, '
            'since how far blocks merge depends on where memory begins and ends: the plots show '
            'from where to where that goes. Hinting has drained the page lists of the CPU when a '
            'loop begins, and does so after it: some 7 million instructions with fault1 and '
            'fault2, once, however many rounds there are.')
    flavors = ('guest', 'nohint')
    peers = {**UNBUILT, **PEERS}
    metrics = {'instructions': ('instructions', ''), 'percent': ('over not built in', '%'),
               'loop_percent': ('the loop alone', '%'),
               'later': ('kernel threads after the loop', 'million')}
    panels = ('percent', 'loop_percent')
    minutes = (35, 20)

    def __init__(self):
        self.unbuilt = {}

    def jobs(self, quick):
        return ['loops']

    def measure(self, job, key, peer, repetition):
        phase = PHASE_S * (repetition - 1)
        watch = self.boot('overhead', [REST_S, *[f'{name}:{LOOPS[name][0]}' for name in LOOPS]],
                          self.out(job, key, repetition), peer, smp='1', icount=True,
                          memory=1024 + GROWTH_MIB * (repetition - 1), wait=SETTLE_S + phase,
                          timeout=900)
        for name in LOOPS:
            work, later = (watch.values[f'{what}-{name}'] for what in ('work', 'later'))
            if key == 'unbuilt':
                self.unbuilt[name, repetition] = work, later
            yield name, 'instructions', work + later
            yield name, 'later', later / 1e6
            if (name, repetition) in self.unbuilt:
                base, after = self.unbuilt[name, repetition]
                yield name, 'percent', 100 * ((work + later) / (base + after) - 1)
                yield name, 'loop_percent', 100 * (work / base - 1)

    def bars(self, data):
        off = [(data.median(name, 'none', 'loop_percent'), name) for name in data.variants()]
        off = [(percent, name) for percent, name in off if percent is not None]
        on = [(*(data.median(name, key, 'percent') for key in ('hinting', 'fpr2000')), name)
              for name in data.variants()]
        on = [row for row in on if None not in row]
        return [
            Bar('built in and off: <= 0.005 %',
                ', '.join(f'{name} {percent:+.4f} %' for percent, name in off) or 'not measured',
                all(percent <= 0.005 for percent, _ in off) if off else None),
            Bar('on: no more than reporting 2000 ms',
                ', '.join(f'{name} {o:+.3f} %, reporting {t:+.3f} %' for o, t, name in on)
                or 'not measured', all(o <= t for o, t, _ in on) if on else None),
            self.hook(data)]

    @staticmethod
    def hook(data):
        """Instructions per free, from the difference of two kernels."""
        found = []
        for name, (rounds, frees) in LOOPS.items():
            base = data.median(name, 'unbuilt', 'instructions')
            off, on = (data.median(name, key, 'percent') for key in ('none', 'hinting'))
            if frees and None not in (base, off, on):
                each = base / 100 / rounds / frees
                found.append(f'{name} {off * each:.2f} off, {on * each:.2f} on')
        return Bar('instructions per page or huge page freed (no bar)', ', '.join(found) or
                   'not measured')
