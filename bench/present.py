# SPDX-License-Identifier: GPL-2.0
"""Read what bench/run has written."""
import csv
import json

import guest
from suite import BENCHES
from suite.base import Data

FOLDER = guest.BUILD / 'bench'


def load(name):
    """Meta and Data of a benchmark; None where it was not run."""
    meta_path, rows_path = (FOLDER / f'{name}.{kind}' for kind in ('json', 'csv'))
    if not meta_path.exists():
        return None, None
    meta = json.loads(meta_path.read_text(encoding='utf-8'))
    data = Data()
    if 'unable' in meta:
        return meta, data
    with open(rows_path, encoding='utf-8', newline='') as stream:
        for row in csv.DictReader(stream):
            value = float(row['value']) if row['value'] else None
            data.add(row['variant'], row['peer'], row['metric'], value)
    return meta, data


def measured():
    """Benchmark, meta and Data of all that was run, in order."""
    for bench in BENCHES.values():
        meta, data = load(bench.name)
        if meta:
            yield bench, meta, data
