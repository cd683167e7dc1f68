# SPDX-License-Identifier: GPL-2.0
"""What the steps of test/run have in common: their results, how a command becomes
one, and the builds. Each step has a log, or a folder of logs, in OUT.
"""
import contextlib
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import guest
import verdict

OUT = guest.BUILD / 'test/run'
NOTES = 20          # lines about a step
SAID = 4            # lines about a failure
BUILD_TIMEOUT = 3600
RUNNING = set()     # commands that have not ended


@dataclass
class Result:
    """What came of a step. Without anything passed it counts as failed."""
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list = field(default_factory=list)
    log: Path = None
    seconds: float = 0      # where a step was at work before it was asked


def log_of(name):
    OUT.mkdir(parents=True, exist_ok=True)
    return OUT / (re.sub(r'\W+', '-', name) + '.log')


def kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def execute(name, args, timeout, **options):
    """Run a command, all it says in a log. Returns what went wrong, and the log."""
    log = log_of(name)
    with open(log, 'wb') as stream:
        process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                                   cwd=guest.TOP, start_new_session=True, **options)
        # Should this be interrupted, leaving BUILDS kills what is running.
        RUNNING.add(process)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            kill(process)
            status = None
        RUNNING.discard(process)
    if status is None:
        return f'no end after {timeout} s', log
    return f'exit status {status}' if status else '', log


def command(name, args, timeout=600):
    """A step that is one result: whether a command succeeds."""
    wrong, log = execute(name, args, timeout)
    said = log.read_text(errors='replace').strip().splitlines()[-1:]
    return Result(int(not wrong), int(bool(wrong)), 0, [wrong, *said] if wrong else [], log)


def of_tap(tap, wrong, log):
    """The result of a TAP stream and of what else went wrong."""
    notes = tap.failed + tap.problems + tap.skips
    if wrong and not tap.failures:
        notes.append(wrong)
    failed = len(tap.failures) or int(bool(wrong or tap.problems or not tap.passed))
    return Result(tap.passed, failed, tap.skipped, notes, log)


class NamedTap(verdict.Tap):
    """A Tap that knows the names of what was skipped or failed, and what was said
    before it failed: where CI runs, nobody can read the log.
    """

    def __init__(self):
        super().__init__()
        self.skips = []
        self.failed = []
        self.said = []

    def feed(self, line):
        skipped, failures = self.skipped, len(self.failures)
        super().feed(line)
        if self.skipped > skipped:
            self.skips.append(f'skipped: {line.strip()}')
        if len(self.failures) > failures:
            self.failed += [f'not ok: {self.failures[-1]}', *self.said]
        self.said = [] if verdict.RESULT.match(line) else [*self.said, line.strip('# ')][-SAID:]


def parse(lines):
    tap = NamedTap()
    for line in lines:
        tap.feed(line)
    tap.close(0)
    return tap


def tap_command(name, args, timeout):
    """A step whose results are those of a TAP stream on stdout."""
    wrong, log = execute(name, args, timeout)
    return of_tap(parse(log.read_text(errors='replace').splitlines()), wrong, log)


class Builds:
    """What is built in the background, each once, in this order."""
    COMMANDS = {
        'qemu': ['qemu/build', 'faults'],
        '6.12 guest': ['scripts/kernel', '6.12', 'guest'],
        'mainline guest': ['scripts/kernel', 'mainline', 'guest'],
        '6.12 debug': ['scripts/kernel', '6.12', 'debug'],
    }
    # What make test does not need is built when it is asked for.
    MORE = {
        '6.12 rt': ['scripts/kernel', '6.12', 'rt'],
        '6.12 kcsan': ['scripts/kernel', '6.12', 'kcsan'],
        '6.12 gcov': ['scripts/kernel', '6.12', 'gcov'],
    }

    def __init__(self):
        self.pool = ThreadPoolExecutor(1)
        self.futures = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.shutdown(wait=False, cancel_futures=True)
        for process in list(RUNNING):
            kill(process)
        self.pool.shutdown()

    def begin(self):
        for what in self.COMMANDS:
            self.submit(what)

    def submit(self, what):
        if what not in self.futures:
            self.futures[what] = self.pool.submit(self.build, what)
        return self.futures[what]

    def build(self, what):
        began = time.monotonic()
        args = self.COMMANDS.get(what) or self.MORE[what]
        result = command(f'build {what}', args, BUILD_TIMEOUT)
        result.seconds = time.monotonic() - began
        return result

    def result(self, what):
        return self.submit(what).result()

    def need(self, *names):
        """Raise Trouble unless they were built: what lies there may be old."""
        for what in names:
            if self.result(what).failed:
                raise guest.Trouble(f'{what} was not built')


BUILDS = Builds()
