# SPDX-License-Identifier: GPL-2.0
"""What all benchmarks share: the peers, a guest for one of them, and what a
benchmark has to say about itself.
"""
from dataclasses import dataclass, field
from statistics import median

import guest
import verdict
from watch import PORT, Watch

# All on the newest kernel: only there free page reporting can be tuned.
BASE = 'mainline'
DELAY = '/sys/module/page_reporting/parameters/page_reporting_delay_ms'
# What boot freed is back on the host by then.
SETTLE_S = 4
# Under icount a repetition begins this part of a tick later than the one before.
PHASE_S = 137e-6


@dataclass(frozen=True)
class Peer:
    """What gives memory back. first and then are settings, see bench.h."""
    title: str
    balloon: str
    colour: str
    append: str = ''
    first: tuple = ()
    then: tuple = ()
    flavor: str = 'guest'

    def settings(self, wait=SETTLE_S):
        return [*self.first, f'wait={wait:.6f}', *self.then]


def reporting(delay_ms, colour):
    """Fast until the guest has settled, so that it starts where the others do."""
    return Peer(f'reporting {delay_ms} ms', 'reporting', colour, 'page_hinting=off',
                (f'{DELAY}=10',), (f'{DELAY}={delay_ms}',))


# Told apart by those who see no red or green, too.
PEERS = {
    'none': Peer('no device', 'none', '#999999'),
    'fpr2000': reporting(2000, '#d55e00'),
    'fpr250': reporting(250, '#e69f00'),
    'fpr100': reporting(100, '#f0e442'),
    'hinting': Peer('hinting', 'hinting', '#0072b2'),
    'eager': Peer('eager', 'hinting', '#56b4e9', first=('min_age_ms=0',)),
}
# The same source without CONFIG_PAGE_HINTING.
UNBUILT = {'unbuilt': Peer('not built in', 'none', '#000000', flavor='nohint')}


@dataclass
class Bar:
    """What a benchmark must reach; met is None where it was not measured."""
    text: str
    measured: str
    met: bool = None


@dataclass
class Data:
    """The rows of a CSV file: values of all repetitions."""
    values: dict = field(default_factory=dict)

    def add(self, variant, peer, metric, value):
        self.values.setdefault((variant, peer, metric), []).append(value)

    def median(self, variant, peer, metric):
        """None where it was not measured, or not reached more often than not.

        >>> data = Data({('v', 'p', 'm'): [3, None, 1], ('v', 'p', 'n'): [None, None, 1]})
        >>> [data.median('v', 'p', name) for name in 'mno']
        [3, None, None]
        """
        values = self.values.get((variant, peer, metric), [])
        if not values:
            return None
        found = median(float('inf') if value is None else value for value in values)
        return None if found == float('inf') else found

    def measured(self, variant, peer, metric):
        return (variant, peer, metric) in self.values

    def variants(self):
        return list(dict.fromkeys(key[0] for key in self.values))

    def worst(self, peer, metric, variants=None):
        """The largest median over the variants; None where one is None."""
        found = [self.median(variant, peer, metric) for variant in variants or self.variants()
                 if self.measured(variant, peer, metric)]
        return max(found) if found and None not in found else None


def at_most(data, text, metric, limit, peer='hinting', variants=None, digits=2):
    """A bar that the worst of all variants has to meet."""
    chosen = [v for v in variants or data.variants() if data.measured(v, peer, metric)]
    if not chosen:
        return Bar(text, 'not measured')
    found = data.worst(peer, metric, chosen)
    if found is None:
        return Bar(text, 'not reached', False)
    return Bar(text, f'{found:.{digits}f}', found <= limit)


class Bench:
    """A benchmark. A job is one guest, or more, that gives rows of some variants."""
    name = title = what = ''
    flavors = ('guest',)
    peers = PEERS
    metrics = {}            # name: (title, unit), as the table shows them
    panels = ()             # metrics to plot
    minutes = (0, 0)        # a full run, a quick one
    repetitions = (5, 3)

    def jobs(self, quick):
        raise NotImplementedError

    def measure(self, job, key, peer, repetition):
        """Yield (variant, metric, value)."""
        raise NotImplementedError

    def unable(self):
        """Why this machine cannot run it, or None."""

    def bars(self, data):
        """What must be reached, as Bars."""
        raise NotImplementedError

    def out(self, job, key, repetition):
        return guest.BUILD / 'bench/guests' / self.name / f'{job}-{key}-{repetition}'

    def boot(self, source, args, out, peer, **options):
        """Run a program of bench/ in a guest. Returns the Watch.

        Options: wait, flavor, watch or its kind and sample, and those of guest.Spec.
        """
        watch = options.pop('watch', None) or Watch(
            options.pop('kind', 'process'), peer.balloon, options.pop('sample', False))
        settings = peer.settings(options.pop('wait', SETTLE_S))
        flavor = options.pop('flavor', peer.flavor)
        kernel = guest.find_kernel(BASE, flavor)
        if options.get('icount'):
            kernel = guest.BUILD / BASE / flavor / 'vmlinux'
        qemu_args = ['-name', 'bench,debug-threads=on', *options.pop('qemu_args', [])]
        program = guest.compile_c(guest.TOP / 'bench' / f'{source}.c',
                                  guest.BUILD / 'bench/bin' / source)
        spec = guest.Spec(
            kernel=kernel, qemu=guest.find_qemu(),
            program=[program, *settings, '--', *map(str, args)],
            out=out, balloon=peer.balloon,
            append=f'kunit.enable=0 no_timer_check tsc=reliable {peer.append}'.strip(),
            qemu_args=qemu_args, ports={PORT: watch.line}, on_start=watch.start,
            # The clock of an idle guest under icount runs ahead: it ends before it is asked.
            on_tick=watch.tick, on_end=None if options.get('icount') else watch.end, **options)
        try:
            result = verdict.judge(guest.run(spec))
        finally:
            watch.close()
        if result.reason:
            raise guest.Trouble(f'{result.reason}; see {result.log}')
        return watch
