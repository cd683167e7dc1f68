# SPDX-License-Identifier: GPL-2.0
"""The checks that no kernel base is needed for: the rules of the house, scripts,
documents, and the patches of QEMU."""
import ast
import os
import re
import subprocess
from functools import partial

from lintkernel import DICTIONARY
from patchset import TOP, Fail, clean_env, git

FILE_LINES = 500
FUNCTION_LINES = 60
# Where a comment is not usual, or not ours to add.
NO_SPDX = re.compile(r'COPYING|MAINTAINERS|(.*/)?\.git\w+|Documentation/ABI/.*|.*\.(patch|md|svg|'
                     r'png|csv)|patches/0000-cover-letter')
# Hosts of package archives, and folders of the machine one happens to work on.
# The brackets keep the pattern from finding itself.
PLACES = re.compile(r'/wor[k]/|/roo[t]/|/far[m]/|(deb|security|snapshot)\.debian\.org')
# New files are listed in MAINTAINERS by who takes the series. The header of Linux
# that is synchronised with a script cannot have a bit that is only proposed.
QEMU_EXCEPTIONS = re.compile(r'WARNING: added, moved or deleted file\(s\)'
                             r'(, does MAINTAINERS need updating\?| imported from Linux, '
                             r'are you using scripts/update-linux-headers.sh\?)$')


class House:
    """The files of the repository, tracked or about to be."""

    def __init__(self):
        out = git(TOP, 'ls-files', '-z', '--cached', '--others', '--exclude-standard')
        paths = sorted({path for path in out.split('\0') if (TOP / path).is_file()})
        data = {path: (TOP / path).read_bytes() for path in paths}
        try:
            self.text = {path: data[path].decode() for path in paths if b'\0' not in data[path]}
        except UnicodeError as error:
            raise Fail(f'a file is not UTF-8: {error.object[:60]}') from error
        self.paths = list(self.text)
        if 'Makefile' not in self.text:
            raise Fail('git lists no files')

    def interpreter(self, path):
        """The program that a file is a script for, or ''."""
        match = re.match(r'#!.*?([a-z]+)[0-9.]*\n', self.text[path])
        return match[1] if match else ''

    def scripts(self, suffix, *interpreters):
        found = [path for path in self.paths
                 if path.endswith(suffix) or self.interpreter(path) in interpreters]
        if not found:
            raise Fail(f'there are no files {suffix}')
        return found


def matches(house, pattern, paths):
    """The lines of files that a pattern is found in."""
    return [f'{path}:{number}: {line}' for path in paths
            for number, line in enumerate(house.text[path].split('\n'), 1)
            if re.search(pattern, line)]


def licences(house):
    wrong = []
    for path in house.paths:
        if NO_SPDX.fullmatch(path):
            continue
        head = house.text[path].split('\n')[:3]
        tag = re.search(r'SPDX-License-Identifier: (.*)', '\n'.join(head))
        want = 'GPL-2.0-or-later' if path.startswith('qemu/') else r'\(*GPL-2.0( WITH .*)?'
        if not tag:
            wrong.append(f'{path}: no SPDX line in the first three lines')
        elif not re.fullmatch(want, tag[1].removesuffix('*/').strip()):
            wrong.append(f'{path}: {tag[1]}, expected {want}')
    wrong += [line for line in matches(house, r'^\+.*SPDX-License-Identifier:', house.paths)
              if line.startswith('qemu/patches/') and 'GPL-2.0-or-later' not in line]
    return wrong


def file_sizes(house):
    sizes = {path: house.text[path].count('\n') for path in house.paths
             if path.endswith(('.c', '.h', '.sh', '.py')) or house.interpreter(path)}
    return [f'{path}: {size} lines, at most {FILE_LINES}'
            for path, size in sizes.items() if size > FILE_LINES]


def c_functions(text):
    """Name and size of each function of a C file, from its return type on."""
    lines = text.split('\n')
    for number, line in enumerate(lines):
        if line != '{':
            continue
        start = number
        while start and lines[start - 1] and not lines[start - 1].startswith(('}', '/', ' *', '#')):
            start -= 1
        name = re.search(r'(\w+)\s*\(', ' '.join(lines[start:number]))
        end = lines.index('}', number)
        yield name[1] if name else f'line {number + 1}', end - start + 1


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.end_lineno - node.lineno + 1


def function_sizes(house):
    found = [(path, *size) for path in house.scripts(('.c', '.h'))
             for size in c_functions(house.text[path])]
    found += [(path, *size) for path in house.scripts('.py', 'python')
              for size in python_functions(house.text[path])]
    return [f'{path}: {name}: {size} lines, at most {FUNCTION_LINES}'
            for path, name, size in found if size > FUNCTION_LINES]


def words(house):
    """What must not stand anywhere, in a file or in its name."""
    patches = [path for path in house.paths if path.startswith(('patches/', 'qemu/patches/'))]
    return (matches(house, r'^[+ ]?Signed-off-by:', patches) +
            matches(house, r'LINUX_VERSION_COD[E]', house.paths) +
            matches(house, PLACES, house.paths) +
            [path for path in house.paths if PLACES.search(f'/{path}')])


def modes(house):
    return [f'{path}: ' + ('begins with #! and is not executable' if house.text[path][:2] == '#!'
                           else 'is executable and does not begin with #!')
            for path in house.paths
            if (house.text[path][:2] == '#!') != os.access(TOP / path, os.X_OK)]


def white_space(house):
    paths = [path for path in house.paths if not path.endswith('.patch')]
    wrong = matches(house, r'[ \t\r\f]$', paths)
    # In a patch only what it adds, and its message; a lone space is context.
    wrong += matches(house, r'^\+.*[ \t]$|^[^ +-].*[ \t]$',
                     [path for path in house.paths if path.endswith('.patch')])
    return wrong + [f'{path}: must end with one newline' for path in paths
                    if house.text[path] and not re.search(r'[^\n]\n\Z', house.text[path])]


def tool(*command, cwd=TOP):
    """What a program complains about; that it fails is a complaint, too."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=clean_env())
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line]
    if done.returncode and not lines:
        lines = [f'{command[0]} ended with {done.returncode}']
    return lines


def shellcheck(house):
    return tool('shellcheck', '-f', 'gcc', '-x', '-P', 'SCRIPTDIR:.',
                *house.scripts('.sh', 'bash', 'sh'))


def codespell(house):
    """All but the patches, whose context is not ours; see checkpatch."""
    return tool('codespell', *[path for path in house.paths
                               if path != 'COPYING' and not path.endswith('.patch')])


def python(house):
    """Whether the Python files compile, and what pyflakes says."""
    paths = house.scripts('.py', 'python')
    for path in paths:
        try:
            compile(house.text[path], path, 'exec')
        except SyntaxError as error:
            return [str(error)]
    return tool('pyflakes3', *paths)


def qemu_checkpatch(house):
    src = TOP / 'build/qemu/src'
    patches = [TOP / path for path in house.paths if re.match(r'qemu/.*\.patch$', path)]
    if not patches:
        raise Fail('there are no patches in qemu/patches')
    if not (src / 'scripts/checkpatch.pl').exists():
        raise Fail('there is no build/qemu/src; run: make qemu')
    found = tool('perl', 'scripts/checkpatch.pl', '--no-signoff', '--terse', '--no-summary',
                 '--color=never', '--codespell', '--codespellfile', DICTIONARY, *patches, cwd=src)
    return [line.removeprefix(f'{TOP}/') for line in found if not QEMU_EXCEPTIONS.search(line)]


def checks():
    house = House()
    return [(title, partial(check, house)) for title, check in (
        ('licences', licences), ('sizes of files', file_sizes),
        ('sizes of functions', function_sizes), ('words', words), ('modes', modes),
        ('white space', white_space), ('shellcheck', shellcheck), ('codespell', codespell),
        ('python', python), ('checkpatch of QEMU', qemu_checkpatch))]
