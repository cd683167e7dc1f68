# SPDX-License-Identifier: GPL-2.0
"""What it costs the host when a guest frees memory and takes it again."""
from figures import below_for_good
from suite.base import Bar, Bench

MIB = 256
ROUNDS = {0: 40, 50: 40, 300: 20, 1000: 10}     # by the gap in ms
REST_S = 3
BLOCK_PAGES = 512
RECOVERED = 0.9


class Churn(Bench):
    name = 'churn'
    title = 'Allocate, touch and free, over and over'
    what = (f'{MIB} MiB of huge pages by one process in a guest of 2 GiB with 2 CPUs; '
            f'{", ".join(f"{r} rounds with gaps of {g} ms" for g, r in ROUNDS.items())}. Faults, '
            'CPU time: of QEMU, all its threads. Recovery: from the last round until 90 % of the '
            f'memory is back for good, looked at for {REST_S} s. Hinted twice: blocks that were '
            'reported and not used since they had been reported before, from rest to rest.')
    metrics = {'rounds_s': ('rounds', '1/s'), 'faults': ('host minor faults', ''),
               'cpu_s': ('host CPU', 's'), 'system_s': ('of it in the kernel', 's'),
               'recovery_s': ('recovery', 's'), 'reported': ('blocks hinted', ''),
               'twice': ('blocks hinted twice', '')}
    panels = ('faults', 'rounds_s', 'system_s', 'recovery_s')
    minutes = (50, 20)

    def jobs(self, quick):
        return [[0, 300] if quick else list(ROUNDS)]

    def measure(self, job, key, peer, repetition):
        watch = self.boot('churn', [1, MIB, 'thp', REST_S, *[f'{gap}:{ROUNDS[gap]}' for gap in job]],
                          self.out('gaps', key, repetition), peer, memory=2048, timeout=400,
                          sample=True, tick=0.005)
        for gap in job:
            begin, end, rest = f'begin-{gap}', f'end-{gap}', f'rest-{gap}'
            seconds = watch.values[f'ns-{gap}'] / 1e9
            row = {'rounds_s': ROUNDS[gap] / seconds, 'faults': watch.used(begin, end, 'minflt'),
                   'system_s': watch.used(begin, end, 'system_s'),
                   'cpu_s': watch.used(begin, end, 'cpu_s') + watch.used(begin, end, 'vcpu_s'),
                   'recovery_s': self.recovery(watch, begin, end, rest)}
            reported, reused = (watch.counted(begin, rest, f'page_hint_{name}') / BLOCK_PAGES
                                for name in ('reported', 'reused'))
            row['reported'] = reported
            if peer.balloon == 'hinting':
                row['twice'] = max(0, reported - reused)
            for metric, value in row.items():
                yield f'gap {gap} ms', metric, value

    @staticmethod
    def recovery(watch, begin, end, rest):
        """None where the memory is not back by the end; the level before is the rest."""
        start, stop, until = (watch.marks[name] for name in (begin, end, rest))
        before = [mib for when, mib in watch.samples if when <= start][-1]
        level = before + (1 - RECOVERED) * MIB
        after = [sample for sample in watch.samples if stop <= sample[0] <= until]
        when = below_for_good(after, level)
        return None if when is None else when - stop

    def bars(self, data):
        faults, rounds = [], []
        for variant in data.variants():
            none, ours, theirs = (data.median(variant, peer, 'faults')
                                  for peer in ('none', 'hinting', 'fpr2000'))
            if None not in (none, ours, theirs):
                faults.append((ours - none, theirs - none, variant))
            none, ours = (data.median(variant, peer, 'rounds_s') for peer in ('none', 'hinting'))
            if None not in (none, ours):
                rounds.append((100 * (1 - ours / none), variant))
        return [
            Bar('host faults over no device no more than FPR 2000 ms at every gap',
                '; '.join(f'{v}: {o:.0f}, FPR {t:.0f}' for o, t, v in faults) or 'not measured',
                all(o <= t for o, t, _ in faults) if faults else None),
            Bar('rounds within 2 % of no device',
                '; '.join(f'{v}: {r:+.1f} % slower' for r, v in rounds) or 'not measured',
                all(r <= 2 for r, _ in rounds) if rounds else None),
            self.once(data),
            self.recovers(data)]

    @staticmethod
    def once(data):
        found = data.worst('hinting', 'twice')
        return Bar('0 whole blocks hinted twice', 'not measured' if found is None else
                   f'{found:.0f}', None if found is None else found < 1)

    @staticmethod
    def recovers(data):
        found = [data.median(v, 'hinting', 'recovery_s') for v in data.variants()]
        if not found:
            return Bar('recovered within 1 s after the end', 'not measured')
        text = ', '.join('not in 3 s' if t is None else f'{t:.2f} s' for t in found)
        return Bar('recovered within 1 s after the end', text,
                   all(t is not None and t <= 1 for t in found))
