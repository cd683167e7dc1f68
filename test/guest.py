# SPDX-License-Identifier: GPL-2.0
"""Boot one guest under QEMU and collect everything it says.

Nothing here judges the run: see verdict.py.
"""
import contextlib
import gzip
import json
import os
import re
import selectors
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BUILD = TOP / 'build'
TAP_PORT = 'org.page-hinting.tap'
MONITOR_PORT = 'org.page-hinting.monitor'
END_OF_RUN = '# end of run'
# TCG looks up a section of memory while another CPU moves a BAR, seen once in some
# hundred boots, with and without a balloon. Upstream's, and not what is tested here.
BOOT_RACE = 'iotlb_to_section: Assertion `section_index < d->map.sections_nb'
INIT_RUNS = 'Run /init as init process'
BALLOONS = {
    'none': [],
    'reporting': ['virtio-balloon-pci,id=balloon,free-page-reporting=on'],
    'hinting': ['virtio-balloon-pci,id=balloon,page-hinting=on'],
    # It can be unplugged, and its guest may tell QEMU what to do.
    'faults': ['pcie-root-port,id=root1,chassis=1',
               'virtio-balloon-pci,id=balloon,page-hinting=on,bus=root1'],
}
# The guest clock then counts instructions, 1 ns each, and a run repeats exactly.
# Such a guest hangs in SeaBIOS and on I/O that threads of QEMU do: hence the PVH
# entry of vmlinux, qboot and no ioeventfd.
ICOUNT = ['-icount', 'shift=0,sleep=off', '-rtc', 'base=2020-01-01,clock=vm', '-seed', '1',
          '-bios', 'qboot.rom']
ICOUNT_APPEND = 'noapictimer nokaslr lpj=4000000 tsc_early_khz=1000000 norandmaps'
# panic=-1 with -no-reboot: a guest that panics ends at once.
APPEND = ('console=ttyS0 rdinit=/init panic=-1 oops=panic panic_on_warn=1 '
          'hung_task_panic=1 softlockup_panic=1')


class Trouble(Exception):
    """Something the user can mend; the text says how."""


@dataclass
class Spec:
    """One guest: what it runs on, what it runs and where its logs go."""
    kernel: Path
    qemu: str
    program: list
    out: Path
    memory: int = 1024
    smp: str = '2'
    balloon: str = 'none'
    append: str = ''
    qemu_args: list = field(default_factory=list)
    files: dict = field(default_factory=dict)
    # Port name: called with each line; the guest gets what it returns as an answer.
    ports: dict = field(default_factory=dict)
    timeout: float = 120
    on_start: object = None     # called with the Popen
    on_tick: object = None      # called every tick seconds
    on_end: object = None       # called with the Qmp before the guest is let go
    tick: float = 1.0
    icount: bool = False        # kernel must be a vmlinux


@dataclass
class Outcome:
    """What became of a guest."""
    out: Path
    tap: list
    returncode: int = None
    timed_out: bool = False
    seconds: float = 0

    @property
    def console(self):
        return (self.out / 'console.log').read_text(errors='replace')

    @property
    def qemu_log(self):
        return (self.out / 'qemu.log').read_text(errors='replace')


def find_kernel(base, flavor):
    path = BUILD / base / flavor / 'arch/x86/boot/bzImage'
    if not path.exists():
        raise Trouble(f'no {path.relative_to(TOP)}; run: make kernel BASE={base} FLAVOR={flavor}')
    return path


def find_qemu(choice=None, balloon=None):
    if balloon == 'faults':
        path = BUILD / 'qemu/qemu-system-x86_64-faults'
        if not path.exists():
            raise Trouble('no build/qemu/qemu-system-x86_64-faults; run: qemu/build faults')
        return str(path)
    if not choice and os.environ.get('HOST') == 'system':
        choice = 'qemu-system-x86_64'
    if choice:
        found = shutil.which(choice)
        if not found:
            raise Trouble(f'no {choice}; run: apt-get install qemu-system-x86')
        return found
    path = BUILD / 'qemu/qemu-system-x86_64'
    if not path.exists():
        raise Trouble('no build/qemu/qemu-system-x86_64; run: make qemu, or set HOST=system')
    return str(path)


def accel():
    """/dev/kvm alone does not tell: a guest hangs in one that cannot run it."""
    choice = os.environ.get('ACCEL')
    if choice not in (None, '', 'kvm', 'tcg'):
        raise Trouble(f'ACCEL={choice}: take kvm or tcg')
    if not choice:
        flags = Path('/proc/cpuinfo').read_text(encoding='ascii', errors='replace')
        usable = re.search(r'\b(vmx|svm)\b', flags) and os.access('/dev/kvm', os.W_OK)
        choice = 'kvm' if usable else 'tcg'
    if choice == 'kvm':
        return ['-accel', 'kvm', '-cpu', 'host']
    return ['-accel', 'tcg,thread=multi']


def compile_c(source, target, *flags):
    """Build a static guest program, unless it is newer than all it comes from."""
    source, target = Path(source), Path(target)
    inputs = [source, *source.parent.glob('*.h'), *(TOP / 'test').glob('*.h')]
    if target.exists() and all(target.stat().st_mtime > i.stat().st_mtime for i in inputs):
        return target
    if not shutil.which('gcc'):
        raise Trouble('no gcc; run: apt-get install gcc libc6-dev')
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix('.tmp')
    command = ['gcc', '-static', '-O2', '-g', '-Wall', '-Wextra', '-Werror', '-I', TOP / 'test',
               *flags, '-o', partial, source, '-lpthread']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        log = target.with_suffix('.log')
        log.write_text(done.stdout + done.stderr)
        raise Trouble(f'{source.name} does not compile; see {log}')
    partial.replace(target)
    return target


def compile_test(source, base):
    """A test that may include what the selftests of the kernel share."""
    selftests = [BUILD / base / 'work/tools/testing/selftests',
                 TOP / 'tools/testing/selftests/page_hinting']
    return compile_c(source, BUILD / 'test' / base / source.stem,
                     *[flag for path in selftests for flag in ('-I', path)])


def newc(name, mode, data=b''):
    """One entry of an initramfs."""
    path = name.encode() + b'\0'
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    head = b'070701' + b''.join(b'%08X' % value for value in fields) + path
    return head + b'\0' * (-len(head) % 4) + data + b'\0' * (-len(data) % 4)


def write_initramfs(spec):
    """init, the program and its arguments, and the files it needs."""
    program = Path(spec.program[0])
    inside = '/' + program.name
    command = '\n'.join([inside, *spec.program[1:]]) + '\n'
    files = {'/init': compile_c(TOP / 'test/init.c', BUILD / 'test/init'), inside: program}
    # Where the balloon is a module, init loads it.
    for module in spec.kernel.parent.glob('../../../drivers/virtio/virtio_balloon.ko'):
        files[f'/{module.name}'] = module
    files.update(spec.files)
    parts = [newc('cmd', stat.S_IFREG | 0o644, command.encode())]
    for name, path in files.items():
        if not Path(path).exists():
            raise Trouble(f'no {path} to run in the guest')
        parts.append(newc(name.lstrip('/'), stat.S_IFREG | 0o755, Path(path).read_bytes()))
    parts.append(newc('TRAILER!!!', 0))
    (spec.out / 'initramfs').write_bytes(gzip.compress(b''.join(parts), 1))


def command_line(spec, fds):
    machine = ['-accel', 'tcg,thread=single', *ICOUNT] if spec.icount else accel()
    synchronous = ',ioeventfd=off' if spec.icount else ''
    append = f'{APPEND} {ICOUNT_APPEND}' if spec.icount else APPEND
    args = [spec.qemu, '-M', 'q35', *machine, '-m', str(spec.memory), '-smp', spec.smp,
            '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
            '-chardev', f'file,id=console,path={spec.out}/console.log,append=on',
            '-serial', 'chardev:console',
            '-kernel', str(spec.kernel), '-initrd', f'{spec.out}/initramfs',
            '-append', f'{append} {spec.append}'.strip(),
            '-chardev', f'socket,id=qmp,fd={fds["qmp"]}', '-mon', 'chardev=qmp,mode=control',
            '-device', 'virtio-serial-pci' + synchronous]
    for i, name in enumerate(name for name in fds if name != 'qmp'):
        args += ['-chardev', f'socket,id=port{i},fd={fds[name]}',
                 '-device', f'virtserialport,chardev=port{i},name={name}']
    for device in BALLOONS[spec.balloon]:
        args += ['-device', device + synchronous]
    return args + spec.qemu_args


class Qmp:
    """Ask a QEMU that is running. Its greeting and its events are skipped."""

    def __init__(self, sock):
        sock.settimeout(30)
        self.sock = sock
        self.stream = sock.makefile('r', encoding='utf-8')
        self.ready = False

    def ask(self, command, **arguments):
        if not self.ready:
            self.ready = True
            self.ask('qmp_capabilities')
        request = {'execute': command, 'arguments': arguments}
        self.sock.sendall(json.dumps(request).encode() + b'\n')
        for line in self.stream:
            answer = json.loads(line)
            if 'error' in answer:
                raise Trouble(f'QEMU: {command}: {answer["error"]["desc"]}')
            if 'return' in answer:
                return answer['return']
        raise Trouble(f'QEMU: {command}: no answer')


class Guest:
    """A running QEMU. run() returns when it has ended, one way or the other."""

    def __init__(self, spec):
        self.spec = spec
        self.outcome = Outcome(spec.out, [])
        self.handlers = {TAP_PORT: self.tap_line, **spec.ports}
        if spec.balloon == 'faults':
            self.handlers[MONITOR_PORT] = self.monitor_line
        self.sockets, self.partial = {}, {}
        self.selector = selectors.DefaultSelector()
        self.process = None
        self.qmp = None

    def start(self, *more):
        """Start a QEMU, or one more, to which the guest is to be moved."""
        far = {}
        for name in ('qmp', *self.handlers):
            self.sockets[name], far[name] = socket.socketpair()
        self.qmp = Qmp(self.sockets['qmp'])
        fds = {name: end.fileno() for name, end in far.items()}
        args = [*command_line(self.spec, fds), *more]
        (self.spec.out / 'command').write_text(shlex.join(args) + '\n')
        with open(self.spec.out / 'qemu.log', 'ab') as log:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, pass_fds=list(fds.values()))
        for name, end in far.items():
            end.close()
            if name != 'qmp':
                self.partial.setdefault(name, b'')
                self.selector.register(self.sockets[name], selectors.EVENT_READ, name)
        if self.spec.on_start:
            self.spec.on_start(self.process)

    def tap_line(self, line):
        self.outcome.tap.append(line)
        if line == END_OF_RUN:
            if self.spec.on_end:
                self.spec.on_end(self.qmp)
            # The guest waits for this, so that no line of its own is lost.
            with contextlib.suppress(OSError):
                self.sockets[TAP_PORT].sendall(b'\n')

    def monitor_line(self, line):
        """A QMP command, answered with a line: "ok" and its result, or what is wrong."""
        try:
            request = json.loads(line)
            result = self.qmp.ask(request['execute'], **request.get('arguments', {}))
            answer = f'ok {json.dumps(result)}'
        except (Trouble, ValueError, KeyError) as error:
            answer = str(error) or 'error'
        self.sockets[MONITOR_PORT].sendall(answer.encode() + b'\n')

    def receive(self, end, name):
        """Take what a port has to say. QEMU closes its end when it ends."""
        try:
            data = end.recv(65536)
        except ConnectionResetError:
            data = b''
        if not data:
            self.selector.unregister(end)
            end.close()
            return
        *lines, self.partial[name] = (self.partial[name] + data).split(b'\n')
        for line in lines:
            answer = self.handlers[name](line.decode(errors='replace').rstrip('\r'))
            if answer:
                with contextlib.suppress(OSError):
                    self.sockets[name].sendall(answer)

    def follow(self, deadline):
        """Serve the ports until QEMU has closed them all."""
        due = time.monotonic()
        while self.selector.get_map():
            now = time.monotonic()
            if now > deadline:
                raise subprocess.TimeoutExpired(self.spec.qemu, self.spec.timeout)
            if now >= due:
                due = now + self.spec.tick
                if self.spec.on_tick:
                    self.spec.on_tick()
            for key, _ in self.selector.select(max(0, min(due, deadline) - time.monotonic())):
                self.receive(key.fileobj, key.data)

    def note_cpus(self):
        """What the CPUs of a guest that does not end are at; a QEMU may not answer."""
        with contextlib.suppress(OSError, Trouble), \
                open(self.spec.out / 'cpus.log', 'w', encoding='utf-8') as log:
            for what in ('registers -a', 'lapic 0', 'lapic 1', 'registers -a'):
                log.write(self.qmp.ask('human-monitor-command',
                                       **{'command-line': f'info {what}'}))

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for end in self.sockets.values():
            end.close()
        (self.spec.out / 'tap.log').write_text('\n'.join(self.outcome.tap) + '\n')


def run_once(spec, kind):
    shutil.rmtree(spec.out, ignore_errors=True)
    spec.out.mkdir(parents=True)
    (spec.out / 'console.log').touch()
    write_initramfs(spec)
    guest = kind(spec)
    began = time.monotonic()
    try:
        guest.start()
        guest.follow(began + spec.timeout)
        left = began + spec.timeout - time.monotonic()
        guest.outcome.returncode = guest.process.wait(timeout=max(1, left))
    except subprocess.TimeoutExpired:
        guest.outcome.timed_out = True
        guest.note_cpus()
    finally:
        guest.outcome.seconds = time.monotonic() - began
        guest.stop()
    return guest.outcome


def run(spec, kind=Guest):
    """Boot the guest, follow it to its end, and return the Outcome."""
    outcome = run_once(spec, kind)
    if BOOT_RACE in outcome.qemu_log and INIT_RUNS not in outcome.console:
        print(f'{spec.out.name}: QEMU fell over its own feet while the guest booted, once more',
              file=sys.stderr)
        outcome = run_once(spec, kind)
    return outcome


def main(action):
    """Run a program's main(): trouble is one line, and no QEMU outlives it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(action())
    except Trouble as trouble:
        sys.exit(f'{Path(sys.argv[0]).name}: {trouble}')
    except KeyboardInterrupt:
        sys.exit(130)
