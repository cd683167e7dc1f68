# SPDX-License-Identifier: GPL-2.0
"""What it costs the host to take the memory."""
import contextlib
import ctypes
import re
import subprocess
import time
from pathlib import Path

import guest
from suite.base import PEERS, Bar, Bench, Peer

MIB = 1024
MEMORY_MIB = 2048
# Twice what it takes: the second half is idle.
SECONDS = {'none': 2, 'fpr2000': 20, 'fpr250': 8, 'fpr100': 4, 'hinting': 2, 'eager': 2}
PR_SET_THP_DISABLE = 41
POOL = Path('/proc/sys/vm/nr_hugepages')
POOL_PAGES = MEMORY_MIB // 2 + 16
MEMFD = 'memory-backend-memfd,id=ram,share=on,size={}M'.format(MEMORY_MIB)
BACKINGS = {
    'thp': [],
    '4k': [],
    'memfd': ['-object', MEMFD, '-machine', 'memory-backend=ram'],
    'hugetlb': ['-object', f'{MEMFD},hugetlb=on,hugetlbsize=2M', '-machine', 'memory-backend=ram'],
}
TRACE = re.compile(r'(\d+)\.(\d+):ram_block_discard_range \S+ \+ 0x([0-9a-f]+): ')
TRACE_EVENT = 'ram_block_discard_range'


@contextlib.contextmanager
def small_pages(wanted):
    """No huge pages for what is started meanwhile."""
    prctl = ctypes.CDLL(None).prctl
    if wanted:
        prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    try:
        yield
    finally:
        if wanted:
            prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)


@contextlib.contextmanager
def pool(wanted):
    """A pool of huge pages of the host for the time being."""
    before = POOL.read_text(encoding='ascii')
    try:
        if wanted:
            POOL.write_text(str(POOL_PAGES), encoding='ascii')
            if int(POOL.read_text(encoding='ascii')) < POOL_PAGES:
                raise guest.Trouble('this machine has no room for a pool of huge pages')
        yield
    finally:
        if wanted:
            POOL.write_text(before, encoding='ascii')


class Host(Bench):
    name = 'host'
    title = 'What the host does to take 1 GiB'
    what = ('A guest of 2 GiB frees 1 GiB (4 KiB pages where the backing is 4k, else huge pages); '
            'CPU time of the threads of QEMU that run no guest, from before the free until it is '
            'back, without what they use when idle, which is measured as long afterwards, and '
            'without what the same takes with no device: timers of the guest wake the main loop. '
            'Per GiB that came back; next to a bare loop of madvise() or fallocate() over 2 MiB '
            'pieces of as much memory of that kind. Discards are counted by a trace point of QEMU, '
            'in a run of its own.')
    bare = Peer('bare loop', '', '#000000')
    peers = {'bare': bare, **{key: PEERS[key] for key in SECONDS}}
    metrics = {'ms_gib': ('host CPU per GiB', 'ms'),
               'all_ms_gib': ('with what the guest itself takes', 'ms'),
               'idle_ms_s': ('idle CPU', 'ms/s'), 'returned': ('given back', 'MiB'),
               'discards': ('discards', ''), 'kib_call': ('bytes per discard', 'KiB')}
    panels = ('ms_gib', 'kib_call')
    minutes = (40, 17)

    def __init__(self):
        self.none = {}

    def jobs(self, quick):
        return ['thp', 'thp-iothread', '4k'] if quick else [
            'thp', 'thp-iothread', '4k', 'memfd', 'hugetlb']

    def measure(self, job, key, peer, repetition):
        backing, _, thread = job.partition('-')
        if thread and peer.balloon != 'hinting':
            return      # others know no iothread
        with small_pages(backing == '4k'), pool(backing == 'hugetlb'):
            if key == 'bare':
                yield job, 'ms_gib', self.loop(backing)
                return
            yield from self.guest_rows(job, key, peer, repetition)
            if repetition == 1 and backing != 'hugetlb' and key != 'none':
                yield from self.traced(job, key, peer)

    @staticmethod
    def loop(backing):
        program = guest.compile_c(guest.TOP / 'bench/bare.c', guest.BUILD / 'bench/bin/bare')
        done = subprocess.run([program, backing, str(MIB)], capture_output=True, text=True,
                              check=False)
        if done.returncode:
            raise guest.Trouble(f'bare: {done.stdout.strip()}')
        return int(done.stdout) / 1e6 * 1024 / MIB

    def run_guest(self, job, key, peer, out, more=()):
        backing, _, thread = job.partition('-')
        args = [*BACKINGS[backing], *more]
        if thread:
            args += ['-object', 'iothread,id=io', '-global', 'virtio-balloon-device.iothread=io']
        pages = '4k' if backing == '4k' else 'thp'
        kind = 'memfd' if backing in ('memfd', 'hugetlb') else 'process'
        return self.boot('step', [MIB, pages, SECONDS[key]], out, peer,
                         memory=MEMORY_MIB, kind=kind, sample=True, tick=0.05, qemu_args=args,
                         timeout=400)

    def guest_rows(self, job, key, peer, repetition):
        watch = self.run_guest(job, key, peer, self.out(job, key, repetition))
        busy, idle = (watch.used(*span, 'cpu_s') / (watch.marks[span[1]] - watch.marks[span[0]])
                      for span in (('peak', 'later'), ('later', 'end')))
        cpu = (busy - idle) * (watch.marks['later'] - watch.marks['peak'])
        returned = max(mib for _, mib in watch.samples) - watch.samples[-1][1]
        yield job, 'idle_ms_s', 1000 * idle
        yield job, 'returned', returned
        backing = job.partition('-')[0]
        if key == 'none':
            self.none[backing, repetition] = max(cpu, 0)
            return
        if cpu <= 0:
            raise guest.Trouble('QEMU used more CPU time when it was idle than before')
        if returned > MIB / 10:
            per_gib = 1000 * 1024 / returned
            yield job, 'all_ms_gib', cpu * per_gib
            if (backing, repetition) in self.none:
                none = self.none[backing, repetition]
                yield job, 'ms_gib', max(cpu - none, 0) * per_gib

    def traced(self, job, key, peer):
        """Discards from the free to the end, by the clock that the trace has."""
        out = self.out(job, key, 'trace')
        log = out.with_suffix('.trace')
        log.unlink(missing_ok=True)
        watch = self.run_guest(job, key, peer, out, [
            '-trace', TRACE_EVENT, '-msg', 'timestamp=on', '-D', str(log)])
        offset = time.time() - time.monotonic()
        sizes = [int(size, 16) for seconds, us, size in TRACE.findall(log.read_text())
                 if int(seconds) + int(us) / 1e6 - offset > watch.marks['peak']]
        if not sizes:
            raise guest.Trouble(f'no {TRACE_EVENT} in {log}')
        yield job, 'discards', len(sizes)
        yield job, 'kib_call', sum(sizes) / len(sizes) / 1024

    def bars(self, data):
        found = []
        for variant in data.variants():
            ours = data.median(variant, 'hinting', 'ms_gib')
            bare = data.median(variant.partition('-')[0], 'bare', 'ms_gib')
            every = data.median(variant, 'hinting', 'all_ms_gib')
            if None not in (ours, every, bare):
                found.append((variant, ours / bare, every / bare))
        return [Bar('within 1.5 x of a bare loop (in brackets: with what the guest itself takes)',
                    ', '.join(f'{v} {ratio:.1f} x ({every:.1f} x)' for v, ratio, every in found)
                    or 'not measured',
                    all(ratio <= 1.5 for _, ratio, _ in found) if found else None)]
