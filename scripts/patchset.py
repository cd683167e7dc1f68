# SPDX-License-Identifier: GPL-2.0
"""The series as it stands in the repository: patches/ and the whole new files.

A patch is a message, 'Adds:' lines naming the new files it brings, '---', and
the diff of existing files. patches/<base>/ holds a variant of a patch where its
diff does not fit that base.
"""
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
COVER = '0000-cover-letter'
# Where new files may stand, from the top of the repository as in the kernel.
NEW = ('mm', 'include', 'Documentation', 'tools')
DATE = '2026-01-01T00:00:00+00:00'


class Fail(Exception):
    """Something the user can mend; the text says how."""


@dataclass
class Patch:
    """One patch file."""
    name: str
    subject: str
    body: str
    adds: list
    diff: str

    @property
    def message(self):
        return f'{self.subject}\n\n{self.body}\n'

    def text(self):
        adds = ''.join(f'Adds: {path}\n' for path in self.adds)
        gap = '\n' if adds else ''
        return f'Subject: {self.message}{gap}{adds}---\n{self.diff}'

    def same(self, other):
        """Equal but for where the hunks lie, which the base decides."""
        return hunkless(self.text()) == hunkless(other.text())


def hunkless(text):
    return re.sub(r'^@@ .*', '@@', text, flags=re.M)


def show(path):
    return os.path.relpath(path, TOP)


def parse(path):
    """The patch in a file, or Fail with what is wrong with it."""
    text = path.read_text()
    match = re.fullmatch(r'Subject: (\S[^\n]*)\n\n(.+?)\n+((?:Adds: [^\n]+\n)*)---\n(.*)',
                         text, re.S)
    if not match:
        raise Fail(f"{show(path)}: must be 'Subject: ...', an empty line, the message, "
                   "'Adds: FILE' lines, '---', the diff")
    subject, body, adds, diff = match.groups()
    if diff and not diff.startswith('diff --git '):
        raise Fail(f"{show(path)}: after '---' a line 'diff --git ...' must follow")
    if re.search(r'^(new file|deleted file|rename|old mode|index) ', diff, re.M):
        raise Fail(f"{show(path)}: the diff may only change existing files, "
                   "without index lines; new files go into 'Adds: FILE' lines")
    return Patch(path.name, subject, body.rstrip(), adds.replace('Adds: ', '').split(), diff)


def bases():
    return sorted(p.name for p in (TOP / 'bases').iterdir())


def check_base(base):
    if base not in bases():
        raise Fail(f"no kernel base '{base}'; there is: {' '.join(bases())}")


def patch_files(folder):
    return sorted(folder.glob('[0-9][0-9][0-9][0-9]-*.patch'))


def load(base, top=TOP):
    """The patches for a base, in order, with its variants in place."""
    folder = top / 'patches'
    patches = [parse(path) for path in patch_files(folder)]
    for number, patch in enumerate(patches, 1):
        if not patch.name.startswith(f'{number:04d}-'):
            raise Fail(f'patches/{patch.name}: number {number:04d} is missing or double')
    by_name = {patch.name: i for i, patch in enumerate(patches)}
    for path in patch_files(folder / base):
        variant = parse(path)
        main = by_name.get(variant.name)
        if main is None:
            raise Fail(f'{show(path)}: patches/ has no patch of this name')
        if (variant.message, variant.adds) != (patches[main].message, patches[main].adds):
            raise Fail(f'{show(path)}: message and Adds lines must be those of '
                       f'patches/{variant.name}')
        patches[main] = variant
    check_adds(patches, top)
    return patches


def check_adds(patches, top):
    """Every new file comes with exactly one patch."""
    owner = {}
    for patch in patches:
        for path in patch.adds:
            if path in owner:
                raise Fail(f'{path}: added by {owner[path]} and by {patch.name}; '
                           'keep one Adds line')
            owner[path] = patch.name
            if path.split('/')[0] not in NEW or not (top / path).is_file():
                raise Fail(f'{patch.name}: Adds: {path}: there is no such file')
    for path in new_files(top):
        if path not in owner:
            raise Fail(f"{path}: no patch brings it; add 'Adds: {path}' to the right one")


def new_files(top):
    """The new kernel files of the repository, tracked or not yet."""
    out = git(top, 'ls-files', '-z', '--cached', '--others', '--exclude-standard',
              '--', *NEW)
    return sorted(p for p in out.split('\0') if p and (top / p).is_file())


def touched(patches):
    """The existing files that the patches change."""
    found = set()
    for patch in patches:
        for old, new in re.findall(r'^diff --git a/(\S+) b/(\S+)$', patch.diff, re.M):
            if old != new:
                raise Fail(f'{patch.name}: {old} is renamed; only changes are possible')
            found.add(old)
    return sorted(found)


def clean_env():
    """Nothing of the caller's git: a hook's GIT_DIR, a user's settings."""
    env = {k: v for k, v in os.environ.items() if not k.startswith('GIT_')}
    env.update(GIT_CONFIG_GLOBAL='/dev/null', GIT_CONFIG_NOSYSTEM='1', LC_ALL='C',
               GIT_AUTHOR_DATE=DATE, GIT_COMMITTER_DATE=DATE)
    for who in ('AUTHOR', 'COMMITTER'):
        env[f'GIT_{who}_NAME'] = 'Page Hinting'
        env[f'GIT_{who}_EMAIL'] = 'page-hinting@example.org'
    return env


def git(repo, *args, data=None):
    """Run git in a repository and return its output."""
    done = subprocess.run(['git', '-C', str(repo), '-c', 'core.abbrev=12', *args],
                          input=data, capture_output=True, text=True, env=clean_env())
    if done.returncode:
        raise Fail(f'git {args[0]}: {done.stderr.strip() or done.stdout.strip()}')
    return done.stdout


def apply(patch, folder):
    """Apply the diff with no fuzz, all or nothing; returns what did not fit."""
    if not patch.diff:
        return ''
    args = ['patch', '-p1', '-F0', '-f', '-N', '-r', '-', '--no-backup-if-mismatch']
    for dry in ['--dry-run'], []:
        done = subprocess.run(args + dry, input=patch.diff, cwd=folder,
                              capture_output=True, text=True, env=clean_env())
        if done.returncode:
            return explain(patch, done.stdout + done.stderr)
    return ''


def merge(patch, folder):
    """Apply the diff, with conflict markers where it does not fit."""
    subprocess.run(['patch', '-p1', '-f', '--merge', '--no-backup-if-mismatch', '-r', '-'],
                   input=patch.diff, cwd=folder, capture_output=True, text=True,
                   env=clean_env())


def explain(patch, output):
    """Which hunks of which files did not apply, from what patch(1) said."""
    heads, name, lines = {}, None, []
    for line in patch.diff.splitlines():
        if line.startswith('diff --git '):
            name = line.split(' b/')[-1]
        elif line.startswith('@@ '):
            heads.setdefault(name, []).append(line)
    for line in output.splitlines():
        now = re.match(r'(?:checking|patching) file (\S+)', line)
        name = now[1] if now else name
        hunk = re.match(r'Hunk #(\d+) FAILED', line)
        if hunk:
            lines.append(f'  {name}: hunk {hunk[1]}: {heads[name][int(hunk[1]) - 1]}')
        elif re.match(r"can't find|patch: \*\*\*|.*previously applied", line):
            lines.append(f'  {line}')
    return '\n'.join(lines or [output])


def main(function, usage, least=1, most=1):
    """Run a script's function on its arguments; a Fail is one clear message."""
    name, args = Path(sys.argv[0]).name, sys.argv[1:]
    try:
        if not least <= len(args) <= most:
            raise Fail(f'usage: {usage}')
        function(*args)
    except (Fail, BrokenPipeError) as error:
        sys.exit(f'{name}: {error}')


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
