# SPDX-License-Identifier: GPL-2.0
"""Work copies of a base's source and what is compiled from them.

For checks that compile little and often; scripts/kernel makes what boots.
"""
import fcntl
import os
import re
import shutil
import subprocess

from gitseries import source, version
from patchset import TOP, Fail, clean_env, fresh, git, show

STAMP = {'KBUILD_BUILD_TIMESTAMP': 'Thu Jan  1 00:00:00 UTC 2026',
         'KBUILD_BUILD_USER': 'page', 'KBUILD_BUILD_HOST': 'hinting'}
LOCKS = {}      # folder: open file; closing one would unlock it


def deps(*groups):
    if subprocess.run([TOP / 'scripts/deps', *groups]).returncode:
        raise Fail(f'cannot install what it needs: {" ".join(groups)}')


def claim(base, name):
    """build/BASE/NAME with the work copy, for this process as long as it lives.

    Emptied when the source is another one: its files may be older than objects.
    """
    src = source(base)
    home = TOP / 'build' / base / name
    if home not in LOCKS:
        lock = open(home.with_suffix('.lock'), 'w')
        fcntl.flock(lock, fcntl.LOCK_EX)
        LOCKS[home] = lock
    note = home / 'version'
    if not note.exists() or note.read_text() != version(base):
        fresh(home)
        (home / 'work').mkdir()
        # By hard links: lay() replaces a file and never writes into it.
        subprocess.run(['cp', '-al', f'{src}/.', home / 'work'], check=True)
        note.write_text(version(base))
    return home


def replace(origin, path):
    """Make a file equal to another one; what is equal keeps its time stamp."""
    data = origin.read_bytes()
    if path.exists() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(path.name + '.tmp')
    tmp.write_bytes(data)
    shutil.copymode(origin, tmp)
    tmp.replace(path)


def lay(scratch, base, work):
    """Make of the work copy the base with the scratch repository's files in it."""
    src = source(base)
    note = work.parent / 'overlay'
    want = set(git(scratch, 'ls-files').split())
    paths = want | set(note.read_text().split() if note.exists() else [])
    note.write_text('\n'.join(paths))
    for path in paths:
        origin = (scratch if path in want else src) / path
        if origin.exists():
            replace(origin, work / path)
        else:
            (work / path).unlink(missing_ok=True)
    note.write_text('\n'.join(want))


def compiler(name):
    return f'ccache {name}' if shutil.which('ccache') else name


def make(tree, out, cc, log, *args):
    """Run make on a kernel tree. Returns its exit status and all it says."""
    env = {k: v for k, v in clean_env().items() if k not in ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL')}
    out.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(['make', '-C', tree, f'O={out}', f'CC={compiler(cc)}',
                           f'-j{os.cpu_count()}', *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors='replace', env={**env, **STAMP})
    log.write_text(done.stdout)
    return done.returncode, done.stdout


def must(tree, out, cc, log, *args):
    """Run make, or Fail with the end of what it says."""
    status, text = make(tree, out, cc, log, *args)
    if status:
        wrong = [line for line in text.splitlines() if re.search(r'\berror\b|\*\*\*', line, re.I)]
        raise Fail('\n'.join([f'make {" ".join(args)} failed; see {show(log)}', *wrong[:20]]))


def configure(tree, out, cc, base, without=None):
    """A .config as scripts/kernel makes it. Returns the lines that did not survive.

    What stands for a symbol that begins with WITHOUT is left out.
    """
    done = subprocess.run(['bash', '-c', '. "$1" && printf "%s\n" $CONFIG', '-',
                           TOP / 'bases' / base], stdout=subprocess.PIPE, text=True, check=True)
    lines = (TOP / 'test/guest.config').read_text().splitlines() + done.stdout.split()
    if without:
        lines = [line for line in lines if not line.startswith(without)]
    out.mkdir(parents=True, exist_ok=True)
    fragment = out / 'fragment'
    fragment.write_text('\n'.join(lines) + '\n')
    must(tree, out, cc, out.with_suffix('.config.log'), f'KCONFIG_ALLCONFIG={fragment}',
         'allnoconfig')
    config = (out / '.config').read_text().splitlines()
    names = {line.split('=')[0] for line in config}
    if without and any(line.startswith(without) for line in config):
        raise Fail(f'{without} is on in {show(out)}/.config')
    return [line for line in lines if (line.startswith('CONFIG_') and line not in config) or
            (line.startswith('# CONFIG_') and line.split()[1] in names)]
