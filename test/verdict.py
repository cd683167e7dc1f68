# SPDX-License-Identifier: GPL-2.0
"""Judge a guest: what it reported, what its kernel printed, how QEMU ended.

A guest passes only if all three are in order. No result is a failure.
"""
import re
from dataclasses import dataclass, field

from guest import END_OF_RUN

VERSION = re.compile(r'( *)K?TAP version \d+$')
PLAN = re.compile(r'( *)1\.\.(\d+)\s*(#.*)?$')
RESULT = re.compile(r'( *)(not ok|ok)\b\s*(\d*)\s*-?\s*(.*)$')
SKIP = re.compile(r'#\s*SKIP\b', re.IGNORECASE)

# What a kernel prints when something is wrong with it.
SPLAT = re.compile('|'.join((
    r'\bBUG:', r'kernel BUG at', r'\bWARNING: ', r'\bKASAN:', r'\bUBSAN:', r'\bKFENCE:',
    r'\[ cut here \]', r'Kernel panic', r'\bOops\b', r'general protection fault',
    r'unable to handle', r'double fault', r'double-free', r'invalid opcode:', r'segfault at',
    r'possible (circular|recursive|irq lock inversion|deadlock)', r'inconsistent lock state',
    r'DEBUG_LOCKS_WARN_ON', r'bad unlock balance', r'lock held when returning',
    r'suspicious RCU usage', r'scheduling while atomic', r'sleeping function called',
    r'Bad page', r'Bad rss-counter', r'list_(add|del) corruption', r'ODEBUG:', r'refcount_t:',
    r'INFO: task .* blocked', r'INFO: trying to register', r'soft lockup', r'hard LOCKUP',
    r'workqueue lockup', r'rcu.*(detected stall|self-detected|kthread starved)',
    r'irq \d+: nobody cared', r'pagealloc: (memory corruption|single bit error)')))

# A kernel that looks for data races finds them everywhere: only ours count.
OTHERS = re.compile(r'\bBUG: KCSAN: data-race in '
                    r'(?!.*(hint|drain_local_pages_batched|(find|take)_free_block))')


@dataclass
class Level:
    """One document or subtest of a TAP stream."""
    indent: int
    plan: int = None
    seen: int = 0


@dataclass
class Tap:
    """The results of a TAP stream. Those of subtests stand for their parent."""
    passed: int = 0
    skipped: int = 0
    failures: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    stack: list = field(default_factory=list)
    before: int = 0     # failures before the subtests of the next parent

    def feed(self, line):
        if match := VERSION.match(line):
            indent = len(match[1])
            self.close(indent)
            self.stack.append(Level(indent))
        elif match := PLAN.match(line):
            self.take_plan(len(match[1]), int(match[2]), match[3] or '')
        elif match := RESULT.match(line):
            self.take_result(len(match[1]), match[2] == 'ok', match[3], match[4])
        elif line.lstrip().startswith('Bail out!'):
            self.problems.append(line.strip())

    def level(self, indent):
        """The open level at this indent, a new one if there is none."""
        if not self.stack or self.stack[-1].indent < indent:
            self.stack.append(Level(indent))
        return self.stack[-1]

    def close(self, indent):
        """End all levels from this indent on. Returns whether there were any."""
        ended = False
        while self.stack and self.stack[-1].indent >= indent:
            level = self.stack.pop()
            ended = True
            if level.plan is None:
                self.problems.append('no plan')
            elif level.plan != level.seen:
                self.problems.append(f'{level.plan} results planned, {level.seen} seen')
        return ended

    def take_plan(self, indent, count, comment):
        self.close(indent + 1)
        level = self.level(indent)
        if level.plan is not None:
            self.problems.append('a second plan')
        level.plan = count
        if count == 0 and SKIP.match(comment):
            self.skipped += 1

    def take_result(self, indent, good, number, name):
        parent = self.close(indent + 1)
        level = self.level(indent)
        level.seen += 1
        if number != str(level.seen):
            self.problems.append(f'result {number or "without number"} where {level.seen} is due')
        if parent:
            # Its subtests have been counted; its own failure shows all the same.
            if not good and len(self.failures) == self.before:
                self.failures.append(name)
        elif not good:
            self.failures.append(name)
        elif SKIP.search(name):
            self.skipped += 1
        else:
            self.passed += 1
        if indent == 0:
            self.before = len(self.failures)


def parse(lines):
    tap = Tap()
    for line in lines:
        tap.feed(line)
    tap.close(0)
    return tap


def splat(console):
    """The first line of the console that should not be there, or None."""
    return next((line for line in console.splitlines()
                 if SPLAT.search(line) and not OTHERS.search(line)), None)


@dataclass
class Verdict:
    """reason is empty where the guest passed; log is where to look."""
    tap: Tap
    reason: str = ''
    log: str = ''

    @property
    def failed(self):
        """Failed results, at least one where the guest failed for another reason."""
        return len(self.tap.failures) or int(bool(self.reason))


def reason_of(outcome, tap):
    """Why a guest failed and which log tells more, the root cause first."""
    console = outcome.console
    line = splat(console)
    said = outcome.qemu_log.strip().splitlines()
    if outcome.returncode and said:
        return f'QEMU ended with {outcome.returncode}: {said[-1]}', 'qemu.log'
    if line:
        return f'kernel: {line.strip()}', 'console.log'
    if outcome.timed_out:
        return f'no end after {outcome.seconds:.0f} s', 'console.log'
    if outcome.returncode != 0:
        return f'QEMU ended with {outcome.returncode}', 'qemu.log'
    if 'Linux version' not in console:
        return 'no kernel on the console', 'console.log'
    if tap.failures:
        return f'not ok: {", ".join(tap.failures[:3])}', 'tap.log'
    if outcome.tap[-1:] != [END_OF_RUN]:
        return f'"{END_OF_RUN}" is missing', 'console.log'
    if tap.problems:
        return tap.problems[0], 'tap.log'
    status = ''.join(outcome.tap[-2:-1]).removeprefix('# ')
    if status != 'exit status 0' or not tap.passed:
        return f'{status}, {tap.passed} passed, {tap.skipped} skipped', 'tap.log'
    return '', ''


def judge(outcome):
    tap = parse(outcome.tap)
    reason, log = reason_of(outcome, tap)
    return Verdict(tap, reason, str(outcome.out / log) if reason else '')
