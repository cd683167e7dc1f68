# SPDX-License-Identifier: GPL-2.0
"""The steps of test/run: what is built, what is booted, and what must hold.

Builds go on in the background; a step that needs one waits for it.
"""
import itertools
import os
import re
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import bars
import guest
import hostside
import migrate
import verdict
from results import BUILDS, Result, command, log_of, of_tap, parse, tap_command

SELFTESTS = guest.TOP / 'tools/testing/selftests/page_hinting'
LINT_TIMEOUT = 1800
BASES = ('6.12', 'mainline')
# Two nodes, and slots for more memory.
ROOM = ['-m', 'slots=2,maxmem=4G', '-smp', 'sockets=2',
        '-object', 'memory-backend-ram,id=near,size=384M', '-numa', 'node,memdev=near,cpus=0',
        '-object', 'memory-backend-ram,id=far,size=384M', '-numa', 'node,memdev=far,cpus=1']


def lint_house():
    # It checks the patches of QEMU next to its source.
    BUILDS.need('qemu')
    return tap_command('lint house', ['scripts/lint', 'house'], LINT_TIMEOUT)


def qtests():
    BUILDS.need('qemu')
    return tap_command('qtests', ['qemu/check'], 900)


def harness():
    BUILDS.need('qemu', '6.12 guest')
    return tap_command('harness', ['test/selftest-harness'], 900)


@dataclass
class Boot:
    """A guest that runs a test."""
    name: str
    program: Path
    base: str = '6.12'
    flavor: str = 'guest'
    balloon: str = 'hinting'
    args: list = field(default_factory=list)
    append: str = ''
    memory: int = 1024
    qemu_args: list = field(default_factory=list)
    files: dict = field(default_factory=dict)
    timeout: float = 300
    says: str = ''          # must stand in its results
    reason: str = ''        # it must fail, and this must be why
    kind: type = guest.Guest

    def __call__(self):
        BUILDS.need('qemu', f'{self.base} {self.flavor}')
        program = guest.compile_test(self.program, self.base)
        outcome = guest.run(guest.Spec(
            kernel=guest.find_kernel(self.base, self.flavor), qemu=guest.find_qemu(None, self.balloon),
            program=[program, *self.args], out=log_of(self.name).with_suffix(''),
            memory=self.memory, balloon=self.balloon, append=self.append,
            qemu_args=self.qemu_args, files=self.files, timeout=self.timeout), self.kind)
        return self.judge(outcome)

    def judge(self, outcome):
        found = verdict.judge(outcome)
        tap = parse(outcome.tap)
        if self.reason:
            good = bool(re.search(self.reason, found.reason))
            note = f'{found.reason or "it passed"}; expected: {self.reason}'
            return Result(int(good), int(not good), 0, [] if good else [note], outcome.out)
        wrong = found.reason
        if not wrong and not any(self.says in line for line in outcome.tap):
            wrong = f'no "{self.says}"'
        return of_tap(tap, wrong, found.log or outcome.out)


def kunit(base, flavor, **more):
    """Its suite registers a device of its own, so there is no balloon."""
    return Boot(f'kunit {base} {flavor}', guest.TOP / 'test/kunit.c', base, flavor, 'none',
                append='kunit.enable=1 kunit.autorun=1', says='# Subtest: page_hinting', **more)


def selftest(which, base, flavor, balloon, **more):
    return Boot(f'selftest {which} {base} {flavor} {balloon}',
                SELFTESTS / f'page_hinting_{which}.c', base, flavor, balloon, **more)


def house(which, base, flavor, balloon='faults', **more):
    """A test for which the host has to do something, or that is of this house."""
    return Boot(f'{which} {base} {flavor}', guest.TOP / f'test/{which}.c', base, flavor, balloon,
                **more)


def restart(base, flavor, how, fault, **more):
    return Boot(f'{how} {base} {flavor} {fault}', guest.TOP / 'test/restart.c', base, flavor,
                'faults', [how, fault], memory=512, qemu_args=['-action', 'reboot=reset'], **more)


def poisons(base):
    """Free pages have a content that somebody looks at: it must be what it was."""
    refuse = ['-global', 'virtio-balloon-device.page-poison=off']
    pattern = SELFTESTS / 'page_hinting_pattern.c'
    for append in ('init_on_free=1', 'page_poison=1', 'init_on_alloc=1'):
        yield Boot(f'pattern {base} debug {append}', pattern, base, 'debug', args=['12'],
                   append=append, memory=512, timeout=300)
        if append != 'init_on_alloc=1':
            yield Boot(f'nothing passes with {append} and a host that does not know', pattern,
                       base, 'debug', append=append, qemu_args=refuse,
                       reason='0 passed, 1 skipped')


def migration():
    """Memory in use keeps its content while the guest is moved and while it is not."""
    return Boot('migration 6.12 guest', SELFTESTS / 'page_hinting_pattern.c', args=['60'],
                memory=512, kind=migrate.Migrated, says=migrate.DONE)


def guests():
    """All but those of the debug kernel."""
    skip = partial(Boot, program=SELFTESTS / 'page_hinting_test.c', reason='0 passed, 1 skipped')
    return [
        kunit('6.12', 'guest'),
        selftest('tunables', '6.12', 'guest', 'hinting'),
        selftest('test', '6.12', 'guest', 'hinting'),
        selftest('test', '6.12', 'guest', 'reporting'),
        migration(),
        skip('nothing passes without a balloon', balloon='none'),
        skip('nothing passes with page_hinting=off', balloon='reporting',
             append='page_hinting=off'),
        kunit('mainline', 'guest'),
        selftest('tunables', 'mainline', 'guest', 'none'),
        selftest('test', 'mainline', 'guest', 'hinting'),
        selftest('lifecycle', 'mainline', 'guest', 'hinting'),
        restart('mainline', 'guest', 'reboot', 'hold'),
    ]


def debug_guests():
    seconds = int(os.environ.get('PATTERN_SECONDS') or 40)
    return [
        kunit('6.12', 'debug', timeout=600),
        selftest('test', '6.12', 'debug', 'hinting', timeout=1800),
        selftest('lifecycle', '6.12', 'debug', 'hinting', timeout=1800),
        house('faults', '6.12', 'debug', memory=512, timeout=1800, qemu_args=migrate.IOTHREAD),
        house('memory', '6.12', 'debug', memory=768, qemu_args=ROOM, timeout=1800,
              append='memhp_default_state=online_movable cma=64M'),
        house('injection', '6.12', 'debug', 'hinting', timeout=1800),
        house('module', '6.12', 'debug', 'hinting'),
        house('shutdown', '6.12', 'debug'),
        restart('6.12', 'debug', 'reboot', 'late'),
        restart('6.12', 'debug', 'kexec', 'hold', append='retain_initrd', files={
            '/bzImage': guest.BUILD / '6.12/debug/arch/x86/boot/bzImage'}),
        *poisons('6.12'),
        selftest('pattern', '6.12', 'debug', 'hinting', args=[str(seconds)], memory=512,
                 timeout=300 + 2 * seconds),
    ]


@dataclass
class Loop:
    """Guests over and over again, until the time is up."""
    boots: list
    seconds: int

    def __call__(self):
        total, end = Result(), time.monotonic() + self.seconds
        for boot in itertools.cycle(self.boots):
            result = boot()
            total.passed += result.passed
            total.failed += result.failed
            total.skipped += result.skipped
            total.notes += [f'{boot.name}: {note}' for note in result.notes
                            if note not in ' '.join(total.notes)]
            total.log = result.log if result.failed else total.log
            if result.failed or time.monotonic() > end:
                return total


def soak():
    """What only time, or a kernel of its own, can show."""
    minutes = int(os.environ.get('SOAK_MINUTES') or 30)
    seconds = minutes * 60
    pattern = SELFTESTS / 'page_hinting_pattern.c'
    long = partial(Boot, program=pattern, args=[str(seconds)], memory=512,
                   timeout=600 + 2 * seconds)
    boots = [
        long('soak debug', flavor='debug'),
        long('soak debug_pagealloc', flavor='debug', append='debug_pagealloc=on'),
        long('soak page_poison', flavor='debug', append='page_poison=1'),
        long('soak kcsan', flavor='kcsan', append='panic_on_warn=0'),
        long('soak rt', flavor='rt'),
        kunit('6.12', 'rt', timeout=600),
        selftest('test', '6.12', 'rt', 'hinting', timeout=900),
        selftest('lifecycle', '6.12', 'rt', 'hinting', timeout=900),
        selftest('test', '6.12', 'kcsan', 'hinting', timeout=900, append='panic_on_warn=0'),
    ]
    loop = [migration(), *(boot for boot in debug_guests() if boot.program != pattern)]
    return [
        ('packages', partial(command, 'packages', ['scripts/deps', 'kernel', 'qemu', 'test'], 1200)),
        ('qtests sanitizers', partial(tap_command, 'qtests sanitizers',
                                      ['qemu/check', 'sanitizers'], 7200)),
        *[(boot.name, boot) for boot in boots],
        (f'all tests for {minutes} minutes', Loop(loop, seconds)),
    ]


def steps():
    """Names and what to call, in order; a build is shown where it is needed."""
    build = [(f'build {what}', partial(BUILDS.result, what)) for what in BUILDS.COMMANDS]
    boots = [(boot.name, boot) for boot in guests()]
    return [
        ('packages', partial(command, 'packages', [
            'scripts/deps', 'series', 'kernel', 'qemu', 'test', 'lint'], 1200)),
        *[(f'roundtrip {base}', partial(command, f'roundtrip {base}',
                                        ['scripts/roundtrip', base])) for base in BASES],
        ('a hunk that does not fit', hostside.spoiled_patch),
        ('bad input', hostside.bad_input),
        build[0],
        ('lint house', lint_house),
        *[(f'lint {base}', partial(tap_command, f'lint {base}', ['scripts/lint', base],
                                   LINT_TIMEOUT)) for base in BASES],
        ('qtests', qtests),
        build[1],
        ('harness', harness),
        *boots[:7],
        build[2],
        *boots[7:],
        build[3],
        *[(boot.name, boot) for boot in debug_guests()],
        *[(f'bars {kind}', partial(bars.check, kind)) for kind in bars.KINDS],
    ]
