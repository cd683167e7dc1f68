# SPDX-License-Identifier: GPL-2.0
"""A guest that is moved from one QEMU to the next, and back in time, while it hints.

What it says goes on in the ports of the next one, which has to get hints, too.
"""
import os
import subprocess
import time
from functools import partial

import guest

DONE = '# it was everywhere'
BEGUN = 'ok 1 '
PATIENCE = 60
HINTS = 64 << 20
# It stays on the way until it has hinted there; what it dirties then fits into the downtime.
SLOW = {'max-bandwidth': 1 << 20, 'downtime-limit': 0}
FAST = {'max-bandwidth': 1 << 30, 'downtime-limit': 2000}
IOTHREAD = ['-object', 'iothread,id=io', '-global', 'virtio-balloon-device.iothread=io']
# Named as anonymous memory is, so that one can be moved to the other.
MEMFD = [*IOTHREAD, '-machine', 'memory-backend=pc.ram', '-object',
         'memory-backend-memfd,id=pc.ram,size={}M,share=on,'
         'x-use-canonical-path-for-ramblock-id=off']


def wait(what, is_so):
    end = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > end:
            raise guest.Trouble(f'{what}: not in {PATIENCE} s')
        time.sleep(0.05)


def has_moved(qmp):
    info = qmp.ask('query-migrate')
    if info.get('status') == 'failed':
        raise guest.Trouble(f'migration: {info.get("error-desc")}')
    return info.get('status') == 'completed'


def discarded(qmp):
    return qmp.ask('qom-get', path='/machine/peripheral/balloon',
                   property='page-hinting-stats')['discarded-bytes']


class Migrated(guest.Guest):
    """It is at one place after the other while its test goes on."""

    def __init__(self, spec):
        super().__init__(spec)
        spec.on_tick = self.go_on
        self.on_the_way = 0
        memfd = partial(self.move, *(arg.format(spec.memory) for arg in MEMFD))
        self.places = [('at home', int), ('in a memfd', memfd), ('in anonymous memory', self.move),
                       ('back in time', self.rewind), ('in a memfd again', memfd),
                       ('back home', self.move)]

    def go_on(self):
        if not self.places or not any(line.startswith(BEGUN) for line in self.outcome.tap):
            return
        name, go = self.places.pop(0)
        try:
            go()
            self.await_hints(self.qmp)
        except (guest.Trouble, OSError, subprocess.SubprocessError) as trouble:
            self.outcome.tap.append(f'Bail out! {name}: {trouble}')
            self.places = []
            self.process.kill()
            return
        self.outcome.tap.append(f'# {name}, {self.on_the_way >> 20} MiB discarded on the way')
        if not self.places and self.on_the_way:
            self.outcome.tap.append(DONE)

    def await_hints(self, qmp):
        before = discarded(qmp)
        wait('hints', lambda: discarded(qmp) > before + HINTS)

    def move(self, *args):
        process, qmp, ends = self.process, self.qmp, dict(self.sockets)
        uri = f'unix:{os.path.relpath(self.spec.out)}/migration'
        try:
            self.start('-S', '-incoming', uri, *args)
            self.qmp.ask('query-status')
            qmp.ask('migrate-set-parameters', **SLOW)
            before = discarded(qmp)
            qmp.ask('migrate', uri=uri)
            wait('migration', lambda: qmp.ask('query-migrate').get('status') == 'active')
            self.await_hints(qmp)
            qmp.ask('migrate-set-parameters', **FAST)
            for end in (qmp, self.qmp):
                wait('migration', partial(has_moved, end))
            self.on_the_way += discarded(qmp) - before
            qmp.ask('quit')
            process.wait(PATIENCE)
        finally:
            process.kill()
        # What was said there comes before what is said here.
        for name in self.partial:
            while ends[name].fileno() >= 0:
                self.receive(ends[name], name)
        self.qmp.ask('cont')

    def job(self, command, **arguments):
        self.qmp.ask(command, **{'job-id': 'job', **arguments})
        wait(command, lambda: self.qmp.ask('query-jobs')[0]['status'] == 'concluded')
        error = self.qmp.ask('query-jobs')[0].get('error')
        self.qmp.ask('job-dismiss', id='job')
        if error:
            raise guest.Trouble(f'{command}: {error}')

    def rewind(self):
        """Memory that has been discarded since then is what it was then."""
        file = {'driver': 'file', 'filename': f'{self.spec.out}/snapshot'}
        disk = {'driver': 'qcow2', 'file': 'file'}
        for name, image, size in (('file', file, 0), ('disk', disk, 1 << 20)):
            self.job('blockdev-create', options={**image, 'size': size})
            self.qmp.ask('blockdev-add', **image, **{'node-name': name})
        os.unlink(file['filename'])
        self.job('snapshot-save', tag='then', vmstate='disk', devices=['disk'])
        self.await_hints(self.qmp)
        self.job('snapshot-load', tag='then', vmstate='disk', devices=['disk'])
