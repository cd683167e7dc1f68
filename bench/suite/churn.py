# SPDX-License-Identifier: GPL-2.0
"""What it costs the host when a guest frees memory and takes it again."""
from figures import below_for_good
from suite.base import PEERS, SETTLE_S, Bar, Bench, Peer

MIB = 256
REST_S = 3
BLOCK_PAGES = 512
RECOVERED = 0.9


class Churn(Bench):
    rounds = {0: 40, 50: 40, 300: 20, 1000: 10}     # by the gap in ms
    name = 'churn'
    title = 'Allocate, touch and free, over and over'
    what = (f'{MIB} MiB of huge pages by one process in a guest of 2 GiB with 2 CPUs; '
            f'{", ".join(f"{r} rounds with gaps of {g} ms" for g, r in rounds.items())}. '
            'What was given back before is in use again when they begin. '
            'Faults in guest RAM: one for each piece, huge or not, that the host has to find anew; '
            'QEMU has more of its own, without KVM: for tables of its TLBs. CPU time: of QEMU, all '
            'its threads. Recovery: from the last round until 90 % of the '
            f'memory is back for good, looked at for {REST_S} s; who leaves memory alone in gaps '
            'cannot give it back sooner than a gap after the last round. Hinted twice: blocks '
            'that were reported and not used since they had been reported before, from rest to '
            'rest. The same under icount with one CPU, where rounds are per second of guest time: '
            'there the host takes no time.')
    metrics = {'rounds_s': ('rounds', '1/s'), 'faults': ('host faults in guest RAM', ''),
               'minflt': ('host faults of QEMU in all', ''),
               'cpu_s': ('host CPU', 's'), 'system_s': ('of it in the kernel', 's'),
               'recovery_s': ('recovery', 's'), 'reported': ('blocks hinted', ''),
               'reused': ('of them used again', ''), 'twice': ('blocks hinted twice', '')}
    panels = ('faults', 'rounds_s', 'system_s', 'recovery_s')
    minutes = (40, 12)

    def jobs(self, quick):
        gaps = [0, 300] if quick else list(self.rounds)
        return [('clock', gaps), ('icount', gaps)]

    def measure(self, job, key, peer, repetition):
        how, gaps = job
        if how == 'icount' and repetition > 1:
            return      # it would be the same again
        args = [MIB, 'thp', REST_S, *[f'{gap}:{self.rounds[gap]}' for gap in gaps]]
        out = self.out(how, key, repetition)
        if how == 'icount':
            watch = self.boot('churn', args, out, peer, memory=2048, smp='1', icount=True,
                              wait=SETTLE_S, timeout=600)
            for gap in gaps:
                yield f'gap {gap} ms, icount', 'rounds_s', self.rate(watch, gap)
            return
        watch = self.boot('churn', args, out, peer, memory=2048, timeout=600, kind='ram',
                          sample=True, tick=0.02)
        for gap in gaps:
            for metric, value in self.row(watch, gap, peer).items():
                yield f'gap {gap} ms', metric, value

    def rate(self, watch, gap):
        return self.rounds[gap] / watch.values[f'ns-{gap}'] * 1e9

    def row(self, watch, gap, peer):
        begin, end, rest = f'begin-{gap}', f'end-{gap}', f'rest-{gap}'
        reported, reused = (watch.counted(f'start-{gap}', rest, f'page_hint_{name}') / BLOCK_PAGES
                            for name in ('reported', 'reused'))
        row = {'rounds_s': self.rate(watch, gap), 'minflt': watch.used(begin, end, 'minflt'),
               'system_s': watch.used(begin, end, 'system_s'),
               'cpu_s': watch.used(begin, end, 'cpu_s') + watch.used(begin, end, 'vcpu_s'),
               'recovery_s': self.recovery(watch, f'start-{gap}', end, rest)}
        if watch.faults.folder:
            row['faults'] = watch.used(begin, end, 'ramflt')
        if peer.balloon == 'hinting':
            row.update(reported=reported, reused=reused, twice=max(0, reported - reused))
        return row

    @staticmethod
    def recovery(watch, start, end, rest):
        """None where the memory is not back by the end."""
        start, stop, until = (watch.marks[name] for name in (start, end, rest))
        before = [mib for when, mib in watch.samples if when <= start][-1]
        level = before + (1 - RECOVERED) * MIB
        after = [sample for sample in watch.samples if stop <= sample[0] <= until]
        when = below_for_good(after, level)
        return None if when is None else when - stop

    def bars(self, data):
        known = any(data.measured(v, 'none', 'faults') for v in data.variants())
        faults = [(v, *(data.median(v, peer, 'faults' if known else 'minflt')
                        for peer in ('none', 'hinting', 'fpr2000'))) for v in data.variants()]
        faults = [(v, ours - none, theirs - none) for v, none, ours, theirs in faults
                  if None not in (none, ours, theirs)]
        rounds = [(v, *(data.median(v, peer, 'rounds_s') for peer in ('none', 'hinting')))
                  for v in data.variants() if 'icount' in v]
        rounds = [(v, 100 * (1 - ours / none)) for v, none, ours in rounds
                  if None not in (none, ours)]
        return [
            Bar('host faults over no device no more than reporting 2000 ms at every gap',
                '; '.join(f'{v}: {o:.0f}, reporting {t:.0f}' for v, o, t in faults)
                or 'not measured',
                all(o <= t for _, o, t in faults) if faults else None),
            Bar('rounds within 2 % of no device, under icount',
                '; '.join(f'{v}: {r:.2f} % fewer' for v, r in rounds) or 'not measured',
                all(r <= 2 for _, r in rounds) if rounds else None),
            self.once(data),
            self.recovers(data)]

    @staticmethod
    def once(data):
        found = data.worst('hinting', 'twice')
        return Bar('0 whole blocks hinted twice', 'not measured' if found is None else
                   f'{found:.0f}', None if found is None else found < 1)

    @staticmethod
    def recovers(data):
        found = [data.median(v, 'hinting', 'recovery_s') for v in data.variants()
                 if data.measured(v, 'hinting', 'recovery_s')]
        if not found:
            return Bar('recovered within 1 s after the end', 'not measured')
        text = ', '.join('not in 3 s' if t is None else f'{t:.2f} s' for t in found)
        return Bar('recovered within 1 s after the end', text,
                   all(t is not None and t <= 1 for t in found))


class WhenNot(Churn):
    rounds = {2500: 6}
    name = 'whennot'
    title = 'Where hinting costs most: the same memory again after more than two seconds'
    what = (f'{MIB} MiB of huge pages touched and freed {rounds[2500]} times by one process with '
            'gaps of 2.5 s, which is longer than hinting waits for memory that is used again. Each '
            'round the host has to find the memory anew. The counters show it: what was hinted is '
            'used again. A min_age_ms above the gap ends it. Where the host is itself a guest that '
            'reports free pages, it may have to get memory back from its own host first: see how '
            'much less kernel time a fault takes in churn, eager, without gaps.')
    peers = {**{key: PEERS[key] for key in ('none', 'fpr2000', 'hinting')},
             'patient': Peer('hinting, min_age_ms=3000', 'hinting', '#56b4e9',
                             first=('min_age_ms=3000',))}
    metrics = {key: Churn.metrics[key]
               for key in ('rounds_s', 'faults', 'cpu_s', 'system_s', 'reported', 'reused')}
    panels = ('faults', 'system_s')
    minutes = (10, 3)
    repetitions = (5, 1)

    def jobs(self, quick):
        return [('clock', list(self.rounds))]

    def row(self, watch, gap, peer):
        row = super().row(watch, gap, peer)
        return {key: row[key] for key in self.metrics if key in row}

    def bars(self, data):
        found = [(self.peers[key].title,
                  data.median('gap 2500 ms', key, 'faults'),
                  data.median('gap 2500 ms', key, 'system_s')) for key in self.peers]
        return [Bar('what it costs (no bar)', '; '.join(
            f'{title}: {faults:.0f} faults, {seconds:.2f} s' for title, faults, seconds in found
            if None not in (faults, seconds)) or 'not measured')]
