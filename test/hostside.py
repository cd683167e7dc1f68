# SPDX-License-Identifier: GPL-2.0
"""Steps that need no guest: what the scripts say when something is wrong."""
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field

import guest
from results import Result, execute, log_of

BASE = '6.12'
FAKES = {
    'dpkg-query': '#!/bin/sh\n',                    # nothing is installed
    'id': '#!/bin/sh\necho 1000\n',                 # not root
    'apt-get': '#!/bin/sh\ntouch "$0.was-run"\n',
}


@dataclass
class Refusal:
    """A command that must fail and say why in one line."""
    command: list
    says: str
    env: dict = field(default_factory=dict)


REFUSALS = (
    Refusal(['make', 'kernel', 'BASE=nope'], r"no kernel base 'nope'; there is: .*\b6\.12\b"),
    Refusal(['make', 'kernel', 'FLAVOR=nope'], r"no flavor 'nope'; there is: .*\bdebug\b"),
    Refusal(['make', 'series', 'BASE=nope'], r"no kernel base 'nope'; there is: .*\b6\.12\b"),
    Refusal(['make', 'series', 'BASE=../bases/6.12'], r'no kernel base .*; there is: '),
    Refusal(['make', 'lint', 'BASE=nope'], r"no kernel base 'nope'; there is: .*\b6\.12\b"),
    Refusal(['scripts/deps', 'nope'], r"no group 'nope'; there is: .*\bkernel\b"),
    Refusal(['scripts/kernel'], r'usage: kernel BASE FLAVOR$'),
    Refusal(['test/boot', '--base', 'nope', 'test/kunit.c'],
            r'no build/nope/\S+; run: make kernel BASE=nope'),
    Refusal(['test/boot', '--kernel', '/dev/null', '--qemu', 'qemu-nope', 'test/kunit.c'],
            r'no qemu-nope; run: apt-get install'),
    Refusal(['test/run', 'nope'], r'no step has nope in its name'),
    Refusal(['bench/run', 'nope'], r"no benchmark 'nope'; there is: step "),
    Refusal(['bench/run', '--peers', 'hinting', 'scale'], r"no peer 'scale' \(put "),
    Refusal(['bench/run', 'step', '--peers', 'bare'], r'step has none of these peers; there is: '),
)


def spoil(path):
    """Change a line of context in the last hunk. Returns its number and file."""
    lines = path.read_text().split('\n')
    heads = [i for i, line in enumerate(lines) if line.startswith('@@ ')]
    names = [line for line in lines[:heads[-1]] if line.startswith('diff --git ')]
    first = max(i for i, line in enumerate(lines[:heads[-1]]) if line == names[-1])
    bad = next(i for i in range(heads[-1] + 1, len(lines)) if re.match(r' \s*\w', lines[i]))
    lines[bad] = ' no such line'
    path.write_text('\n'.join(lines))
    return sum(i > first for i in heads), names[-1].split(' b/')[1]


def copy_repository(top):
    """All but build/, of which only the source of the base is needed."""
    shutil.rmtree(top, ignore_errors=True)
    shutil.copytree(guest.TOP, top, symlinks=True,
                    ignore=lambda folder, _: ['build', '.git'] if folder == str(guest.TOP) else [])
    subprocess.run(['git', 'init', '-q', str(top)], check=True)
    build = top / 'build' / BASE
    build.mkdir(parents=True)
    (build / 'src').symlink_to(guest.BUILD / BASE / 'src')
    shutil.copy(guest.BUILD / BASE / 'version', build)


def spoiled_patch():
    """A hunk that does not fit is named, and no series is left that lacks it."""
    name = 'a hunk that does not fit'
    top = log_of(name).with_suffix('')
    copy_repository(top)
    wrong, log = execute(f'{name}: before', [top / 'scripts/series', BASE], 600)
    if wrong:
        return Result(failed=1, notes=['the series does not apply as it is'], log=log)
    shutil.rmtree(top / 'build' / BASE / 'series')
    patch = next(path for path in sorted((top / 'patches').glob('0*.patch'))
                 if '\n@@ ' in path.read_text())
    variant = top / 'patches' / BASE / patch.name
    hunk, file = spoil(variant if variant.exists() else patch)
    wrong, log = execute(name, [top / 'scripts/series', BASE], 600)
    said = log.read_text(errors='replace')
    good = {
        'it fails': bool(wrong),
        'the patch is named': patch.name in said,
        f'{file} and hunk {hunk} are named': f'{file}: hunk {hunk}: @@ ' in said,
        'there is no trace of Python': 'Traceback' not in said,
        'no mails are left': not list((top / 'build' / BASE).glob('series/*.patch')),
    }
    return of_checks(good, log)


def of_checks(good, log):
    notes = [f'not ok: {name}' for name, value in good.items() if not value]
    return Result(len(good) - len(notes), len(notes), 0, notes, log)


def refused(number, refusal):
    """None where a command was refused as it has to be, else what happened."""
    env = {**os.environ, **refusal.env}
    wrong, log = execute(f'bad input {number}', refusal.command, 120, env=env)
    lines = [line for line in log.read_text(errors='replace').splitlines()
             if not line.startswith('make')]
    if not wrong:
        return 'it succeeds'
    if len(lines) != 1 or not re.search(refusal.says, lines[0]):
        return f'{len(lines)} lines: {" / ".join(lines[:3])}'
    return None


def without_packages():
    """A machine with no packages and a user who may not install any."""
    fakes = log_of('fakes').with_suffix('')
    shutil.rmtree(fakes, ignore_errors=True)
    fakes.mkdir(parents=True)
    for name, text in FAKES.items():
        (fakes / name).write_text(text)
        (fakes / name).chmod(0o755)
    env = {'PATH': f'{fakes}:{os.environ["PATH"]}'}
    says = r'^deps: needs: .*\bgcc\b.*; run: sudo apt-get install .*\bgcc\b'
    return fakes, [Refusal(['make', 'kernel'], says, env), Refusal(['make', 'qemu'], says, env),
                   Refusal(['scripts/deps', 'test'], says, env)]


def bad_input():
    fakes, more = without_packages()
    good, log = {}, log_of('bad input')
    for number, refusal in enumerate((*REFUSALS, *more), 1):
        why = refused(number, refusal)
        name = ' '.join(refusal.command) + (' without packages' if refusal.env else '')
        good[f'{name}: {why}' if why else name] = why is None
    good['nothing is installed by a user'] = not (fakes / 'apt-get.was-run').exists()
    return of_checks(good, log.with_name('bad-input-*.log'))
