# SPDX-License-Identifier: GPL-2.0
"""The checks of the series on a base: its mails, and what it compiles to.

Warnings of existing files are compared with what the base itself says.
"""
import re
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property, partial

from gitseries import build, source
from kbuild import claim, configure, lay, make, must
from patchset import Fail, clean_env, new_files, patch_files, show, touched, TOP

# The newest that both bases take; its plain name is too old in Debian 12.
CLANG = 'clang-19'
DICTIONARY = '/usr/lib/python3/dist-packages/codespell_lib/data/dictionary.txt'
# A mail is signed by who sends it; our entry in MAINTAINERS is a file of its own.
IGNORE = ('FILE_PATH_CHANGES,MISSING_SIGN_OFF,NO_AUTHOR_SIGN_OFF,FROM_SIGN_OFF_MISMATCH,'
          'BAD_SIGN_OFF,EMAIL_SUBJECT')
EXCEPTIONS = [re.compile(text) for text in (
    # TRACE_EVENT() is laid out like this everywhere.
    r'^include/trace/events/\S+ CHECK:(OPEN_ENDED_LINE|PARENTHESIS_ALIGNMENT): ',
    # Names that macros of the kernel make.
    r' CHECK:CAMELCASE: .*<__(Set|Clear)Page[A-Z]\w+>$',
)]
# What sparse does not know: from 7.x on the kernel silently skips the check where
# it lacks the first, and MODULE_LICENSE() has the second in a constant expression.
SPARSE = "CHECK=sparse -D__typeof_unqual__=__typeof__ -D'__builtin_strlen(x)=(sizeof(x)-1)'"
WARNING = re.compile(r'(?P<file>[^\s:]+)(?P<where>(?::\d+)*): (?P<text>'
                     r'(?:fatal )?(?:error|warning): .*)')
# They need an OCaml compiler. The first is about one driver; what the second
# looks for, sparse sees.
COCCI_EXCEPTIONS = ('api/check_bq27xxx_data.cocci', 'null/badzero.cocci')
COCCI_TIMEOUT = 60


class Series:
    """The series laid over a work copy, and the objects that come of it."""

    def __init__(self, base):
        self.base = base

    @cached_property
    def home(self):
        home = claim(self.base, 'lint')
        self.patches = build(self.base, home)
        if not self.patches:
            raise Fail('patches/ is empty')
        lay(home / 'scratch', self.base, home / 'work')
        return home

    @property
    def work(self):
        return (self.home / 'work').resolve()

    @property
    def new(self):
        """The new files that are kernel code."""
        found = [path for path in new_files(TOP)
                 if path.split('/')[0] in ('mm', 'include') and path.endswith(('.c', '.h'))]
        if not found:
            raise Fail('there are no new files')
        return found

    @property
    def changed(self):
        """The existing C files that the patches change."""
        self.home       # reads the patches
        return [path for path in touched(self.patches) if path.endswith('.c')]


def checkpatch_mail(series, mail):
    done = subprocess.run(['perl', 'scripts/checkpatch.pl', '--strict', '--codespell',
                           '--codespellfile', DICTIONARY, '--show-types', '--terse', '--showfile',
                           '--no-summary', '--color=never', '--ignore', IGNORE, mail],
                          cwd=series.work, capture_output=True, text=True, env=clean_env())
    found = done.stdout.splitlines() + done.stderr.splitlines()
    if done.returncode and not found:
        found = [f'checkpatch.pl ended with {done.returncode}']
    # What is about the message has no file.
    return [mail.name + line if line.startswith(':') else line for line in found
            if line and not any(exception.search(line) for exception in EXCEPTIONS)]


def checkpatch(series):
    mails = patch_files(series.home / 'series')
    if not mails:
        raise Fail('there are no mails')
    return [line for mail in mails for line in checkpatch_mail(series, mail)]


def warnings(text, tree):
    """Warnings as {(file, text without numbers): where}; each place counts once."""
    found = {}
    for line in text.splitlines():
        match = WARNING.search(line.replace(f'{tree}/', ''))
        if match:
            name = match['file'].removeprefix('./')
            key = name, re.sub(r'\d+', 'N', match['text'])
            found.setdefault(key, set()).add(f'{name}{match["where"]}: {match["text"]}')
    return found


def added(ours, theirs):
    """The warnings that are more often ours than theirs."""
    count = Counter({key: len(places) for key, places in theirs.items()})
    return [line for key, places in sorted(ours.items()) if len(places) > count[key]
            for line in sorted(places)]


@cache
def prepare(series, tree, out, cc):
    lost = configure(tree, out, cc, series.base)
    if tree == series.work and lost:
        raise Fail('lines of the config that did not survive: ' + ', '.join(lost))
    must(tree, out, cc, out.with_suffix('.prepare.log'), 'W=1', 'prepare')


def compile_all(series, tree, out, cc, files, sparse):
    """The warnings of a compiler, or of sparse, for some C files of a tree."""
    prepare(series, tree, out, cc)
    objects = [path[:-2] + '.o' for path in files]
    if not sparse:
        for path in objects:
            (out / path).unlink(missing_ok=True)
    log = out.with_suffix('.sparse.log' if sparse else '.log')
    args = ['C=2', SPARSE] if sparse else []
    status, text = make(tree, out, cc, log, '-k', 'W=1', *args, *objects)
    seen = set(re.findall(r'^  CHECK +(\S+)$' if sparse else r'^  CC +(\S+)$', text, re.M))
    seen = {path.removeprefix(f'{tree}/') for path in seen}
    missed = sorted(set(files if sparse else objects) - seen)
    found = warnings(text, tree)
    if missed or (status and not any('error:' in text for _, text in found)):
        raise Fail(f'make ended with {status}; not compiled: {" ".join(missed)}; '
                   f'see {show(log)}')
    return found


def compare(series, cc, sparse=False):
    """New warnings of the series' objects, next to the base's own."""
    new = [path for path in series.new if path.endswith('.c')]
    name = cc.split('-')[0]
    ours = compile_all(series, series.work, series.home / name, cc, new + series.changed, sparse)
    theirs = compile_all(series, source(series.base).resolve(), series.home / f'base-{name}', cc,
                         series.changed, sparse) if series.changed else {}
    return added(ours, theirs)


def kernel_doc(series):
    done = subprocess.run(['scripts/kernel-doc', '-Wall', '-none', *series.new], cwd=series.work,
                          capture_output=True, text=True, env=clean_env())
    lines = (done.stdout + done.stderr).splitlines()
    if done.returncode and not lines:
        lines = [f'kernel-doc ended with {done.returncode}']
    return lines


def spatch(series, rule):
    """What one semantic patch says about the new files."""
    options = re.findall(r'^// Options: (.*)', (series.work / rule).read_text(), re.M)
    done = subprocess.run(['spatch', '-D', 'report', '--very-quiet', '--no-show-diff',
                           '--cocci-file', rule, '-I', 'include', '-I', 'arch/x86/include',
                           *' '.join(options).split(), *series.new], cwd=series.work,
                          capture_output=True, text=True, timeout=COCCI_TIMEOUT)
    lines = done.stdout.splitlines()
    if done.returncode:
        lines += [f'{rule}: spatch ended with {done.returncode}', *done.stderr.splitlines()[-3:]]
    return [line for line in lines if line]


def coccinelle(series):
    """What make coccicheck MODE=report runs, but for the new files only."""
    rules = sorted(str(path.relative_to(series.work))
                   for path in (series.work / 'scripts/coccinelle').rglob('*.cocci')
                   if re.search(r'^virtual report', path.read_text(), re.M)
                   and not str(path).endswith(COCCI_EXCEPTIONS))
    if not rules:
        raise Fail('there are no semantic patches')
    with ThreadPoolExecutor(2) as pool:
        return [line for lines in pool.map(partial(spatch, series), rules) for line in lines]


def checks(base):
    series = Series(base)
    return [('checkpatch', partial(checkpatch, series)),
            ('gcc W=1', partial(compare, series, 'gcc')),
            ('sparse', partial(compare, series, 'gcc', sparse=True)),
            ('clang W=1', partial(compare, series, CLANG)),
            ('kernel-doc', partial(kernel_doc, series)),
            ('coccicheck', partial(coccinelle, series))]
