# SPDX-License-Identifier: GPL-2.0
"""The series as commits: from patches/ into a git repository and back."""
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from patchset import (COVER, NEW, TOP, Fail, Patch, apply, check_base, clean_env, fresh,
                      git, load, merge, new_files, parse, patch_files, show, touched)

# The base whose diffs stand in patches/ itself.
MAIN = 'mainline'


def source(base):
    """The folder of the base's pristine source, fetched if it has to be."""
    check_base(base)
    if subprocess.run([TOP / 'scripts/source', base]).returncode:
        raise Fail(f'there is no source for {base}')
    return TOP / 'build' / base / 'src'


def version(base):
    return (TOP / 'build' / base / 'version').read_text().strip()


def put(path, data):
    """Write bytes unless they are there already; says whether it wrote."""
    if path.exists() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return True


def base_repo(base, patches, folder):
    """A repository whose only commit is the files that the patches change."""
    src = source(base)
    fresh(folder)
    git(folder, 'init', '-q', '-b', 'series')
    for path in touched(patches):
        if not (src / path).is_file():
            raise Fail(f'{version(base)} has no {path}, which a patch changes')
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(src / path, folder / path)
    commit(folder, version(base), '--allow-empty')
    git(folder, 'tag', 'base')


def commit(folder, message, *args):
    git(folder, 'add', '-A', '-f')
    git(folder, 'commit', '-q', '--no-verify', '--no-gpg-sign', '-F', '-', *args,
        data=message)


def add_commit(folder, base, patch, conflicts=None, top=TOP):
    """One patch on top of what stands in the folder.

    What does not apply is an error, or, given a list to note it in, a commit
    with conflict markers.
    """
    wrong = apply(patch, folder)
    if wrong and conflicts is None:
        raise Fail(f'{patch.name} does not apply to {version(base)}:\n{wrong}\n'
                   f'run: make tree BASE={base}; mend its conflicts there; '
                   f'make export BASE={base}')
    if wrong:
        merge(patch, folder)
        conflicts.append(f'{patch.name}:\n{wrong}')
    for path in patch.adds:
        if (folder / path).exists() or (source_file(base, path)).exists():
            raise Fail(f'{patch.name}: Adds: {path}: {base} has that file already')
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(top / path, folder / path)
    commit(folder, patch.message)


def source_file(base, path):
    return TOP / 'build' / base / 'src' / path


def build(base, out, conflicts=None):
    """OUT/scratch: the commits; OUT/series: the mails. Returns the patches."""
    check_base(base)
    patches = load(base)
    scratch = out / 'scratch'
    base_repo(base, patches, scratch)
    for patch in patches:
        add_commit(scratch, base, patch, conflicts)
    mails = fresh(out / 'series.tmp')
    if patches:
        git(scratch, 'format-patch', '-q', '--zero-commit', '--no-signature', '--no-renames',
            '--full-index', '--stat=72', '--cover-letter', '-o', str(mails), 'base..')
        write_cover(mails)
    shutil.rmtree(out / 'series', ignore_errors=True)
    mails.rename(out / 'series')
    return patches


def write_cover(mails):
    """Fill in the cover letter; without .patch, for git am takes *.patch."""
    path = TOP / 'patches' / COVER
    match = path.exists() and re.fullmatch(r'Subject: (\S[^\n]*)\n\n(.*)', path.read_text(),
                                           re.S)
    if not match:
        raise Fail(f"{show(path)}: must be 'Subject: ...', an empty line, the text")
    blank = mails / (COVER + '.patch')
    text = blank.read_text().replace('*** SUBJECT HERE ***', match[1])
    (mails / COVER).write_text(text.replace('*** BLURB HERE ***', match[2].rstrip()))
    blank.unlink()


def am(repo, mails):
    """Apply the mails the way a maintainer does."""
    paths = [str(p) for p in patch_files(mails)]
    if paths:
        git(repo, 'am', '-q', '--no-gpg-sign', '--committer-date-is-author-date', *paths)


def blob(repo, rev, path):
    done = subprocess.run(['git', '-C', repo, 'cat-file', 'blob', f'{rev}:{path}'],
                          capture_output=True, env=clean_env())
    if done.returncode:
        raise Fail(done.stderr.decode().strip())
    return done.stdout


def read_commit(repo, rev, owner):
    """One commit as a Patch; owner says which commit added which file."""
    subject, slug, body = git(repo, 'log', '-1', '--format=%s%x00%f%x00%b', rev).split('\0')
    if not body.strip():
        raise Fail(f"'{subject}' has no message below its subject; write one")
    fields = git(repo, 'diff-tree', '-r', '-z', '--no-commit-id', '--no-renames',
                 '--name-status', rev).split('\0')
    if re.search(r'^\+(<<<<<<<|>>>>>>>)', git(repo, 'show', '--format=', rev), re.M):
        raise Fail(f"'{subject}' still has conflict markers; mend them (git rebase -i)")
    adds, changed = [], []
    for status, path in zip(fields[::2], fields[1::2]):
        if status == 'A' and path.split('/')[0] in NEW:
            adds.append(path)
            owner[path] = subject
        elif status == 'M' and path in owner:
            raise Fail(f"'{subject}' changes {path}, which '{owner[path]}' adds; a new file "
                       'enters whole: squash the change into that commit (git rebase -i)')
        elif status == 'M':
            changed.append(path)
        else:
            raise Fail(f"'{subject}': {path}: a commit may change existing files and add "
                       f"new ones below {', '.join(NEW)}, no more")
    diff = git(repo, 'diff-tree', '-p', '--no-commit-id', '--no-renames', '--no-ext-diff',
               '--no-textconv', rev, '--', *changed) if changed else ''
    diff = re.sub(r'^index [0-9a-f]+\.\.[0-9a-f]+( \d+)?\n', '', diff, flags=re.M)
    return Patch(slug + '.patch', subject, body.strip('\n').rstrip(), adds, diff)


def read_commits(repo):
    """The commits after the base as patches, and the new files at the end."""
    if git(repo, 'rev-list', '--merges', 'base..HEAD'):
        raise Fail('there are merges after the base; rebase them away')
    owner, patches = {}, []
    for rev in git(repo, 'rev-list', '--reverse', 'base..HEAD').split():
        patch = read_commit(repo, rev, owner)
        if any(patch.subject == other.subject for other in patches):
            raise Fail(f"two commits are called '{patch.subject}'; rename one")
        patches.append(patch)
    files = {path: (blob(repo, 'HEAD', path), git(repo, 'ls-tree', 'HEAD', path)[:6])
             for path in owner}
    return patches, files


def gives(repo, number, patch, diff):
    """Whether a diff makes of commit NUMBER's parent what that commit made."""
    revs = git(repo, 'rev-list', '--reverse', 'base..HEAD').split()
    other = Patch(patch.name, patch.subject, patch.body, patch.adds, diff)
    paths = touched([patch])
    if touched([other]) != paths:
        return False
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            put(Path(folder) / path, blob(repo, revs[number] + '^', path))
        return not apply(other, folder) and all(
            (Path(folder) / path).read_bytes() == blob(repo, revs[number], path)
            for path in paths)


def predecessor(patch, number, old, patches):
    """The patch file a commit stems from: same subject, or same place if renamed."""
    for was in old:
        if was.subject == patch.subject:
            return was
    was = old[number] if number < len(old) else None
    return None if was and was.subject in [p.subject for p in patches] else was


def export(repo, base, top):
    """Bring the commits back into a repository folder; returns what changed."""
    patches, files = read_commits(repo)
    old = [parse(path) for path in patch_files(top / 'patches')]
    kept, wanted = {}, {}
    for number, patch in enumerate(patches):
        was = predecessor(patch, number, old, patches)
        same = was and was.subject == patch.subject
        patch.name = f'{number + 1:04d}-{was.name[5:] if same else patch.name}'
        kept[was.name if was else None] = patch
        if base == MAIN or not was:
            wanted[patch.name] = patch
            continue
        wanted[patch.name] = Patch(patch.name, patch.subject, patch.body, patch.adds, was.diff)
        if not gives(repo, number, patch, was.diff):
            wanted[f'{base}/{patch.name}'] = patch
    for path in (top / 'patches').glob('*/*.patch'):
        new = kept.get(path.name)
        if new and path.parent.name != base:
            wanted[f'{path.parent.name}/{new.name}'] = Patch(
                new.name, new.subject, new.body, new.adds, parse(path).diff)
    gone = {path for p in old for path in p.adds} - set(files)
    return write_patches(wanted, top) + write_files(files, gone, top)


def write_patches(wanted, top):
    folder, changed = top / 'patches', []
    for path in [*patch_files(folder), *folder.glob('*/*.patch')]:
        if str(path.relative_to(folder)) not in wanted:
            changed.append(f'removed {path.relative_to(top)}')
            path.unlink()
    for name, patch in sorted(wanted.items()):
        path = folder / name
        if path.exists() and parse(path).same(patch):
            continue
        put(path, patch.text().encode())
        changed.append(f'wrote {path.relative_to(top)}')
    return changed


def write_files(files, gone, top):
    changed = []
    for path, (data, mode) in sorted(files.items()):
        if put(top / path, data):
            changed.append(f'wrote {path}')
        os.chmod(top / path, int(mode[-3:], 8))
    for path in sorted(gone):
        (top / path).unlink(missing_ok=True)
        changed.append(f'removed {path}')
    return changed


def fingerprint():
    """What patches/ and the new files hold now."""
    total = hashlib.sha256()
    folder = TOP / 'patches'
    paths = sorted([*patch_files(folder), *folder.glob('*/*.patch')])
    for path in paths + [TOP / path for path in new_files(TOP)]:
        total.update(f'{show(path)}\0'.encode() + path.read_bytes())
    return total.hexdigest()


def mark_exported(repo):
    git(repo, 'tag', '-f', 'exported')
    (repo / '.git/fingerprint').write_text(fingerprint())


def check_unexported(repo, base):
    """Fail if a new tree would throw away work in the old one."""
    if not (repo / '.git').exists():
        return
    tags = git(repo, 'tag').split()
    if ('exported' not in tags or git(repo, 'status', '--porcelain', '-uno')
            or git(repo, 'rev-parse', 'HEAD') != git(repo, 'rev-parse', 'exported')):
        raise Fail(f'{show(repo)} has work that is not exported; make export BASE={base}, '
                   'or remove that folder')


def check_stale(repo, base):
    """Fail if an export would undo what was edited in patches/ meanwhile."""
    if (repo / '.git/fingerprint').read_text() != fingerprint():
        raise Fail(f'patches/ or a new file changed after {show(repo)} was made, and export '
                   'would undo that; save your commits (git format-patch exported..), '
                   f'remove that folder and run: make tree BASE={base}')
