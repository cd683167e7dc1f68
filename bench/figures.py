# SPDX-License-Identifier: GPL-2.0
"""What the host memory of one run says, as numbers. All times are in seconds
since the guest had freed its memory, all sizes in MiB.
"""
from statistics import median

QUANTILES = (50, 90, 95, 99)
REST_SECONDS = 0.5      # of the level before and of the level at the end
LATER = 8.0             # when to ask what is left
LATER_SECONDS = 0.1     # to each side of it


class Unusable(Exception):
    """The samples do not show what they should."""


def between(samples, begin, end):
    found = [mib for when, mib in samples if begin <= when <= end]
    if not found:
        raise Unusable(f'no sample of the host memory between {begin:.2f} and {end:.2f} s')
    return found


def below_for_good(samples, level):
    """When the samples have fallen below a level and stay there, or None.

    >>> below_for_good([(0, 9), (1, 3), (2, 5), (3, 3), (4, 2)], 4)
    3
    >>> below_for_good([(0, 9), (1, 3), (2, 5)], 4) is None
    True
    """
    since = None
    for when, mib in samples:
        if mib >= level:
            since = None
        elif since is None:
            since = when
    return since


def compute(samples, marks):
    """The figures of a run. A time is negative where memory was back before
    munmap() had returned, and None where it was not back by the end.

    >>> marks = {'rest': -2, 'peak': -1, 'freed': 0, 'end': 10}
    >>> level = lambda t: 100 if t < -2 else 300 if t < 1 else 200 - 10 * t
    >>> run = [(t / 100, level(t / 100)) for t in range(-300, 1001)]
    >>> found = compute(run, marks)
    >>> [found[name] for name in ('rest_mib', 'peak_mib', 't50', 't90', 't95', 't99')]
    [100, 300, 1.0, 8.01, 9.01, 9.81]
    >>> [found[name] for name in ('left_mib', 'left_end_mib', 'gap_ms')]
    [20.0, 2.5, 10]
    >>> compute([(t, 200 if t > 5 else mib) for t, mib in run], marks)['t90'] is None
    True
    """
    rest = median(between(samples, marks['rest'] - REST_SECONDS, marks['rest']))
    peak = max(between(samples, marks['rest'], marks['freed']))
    end = marks['end']
    top = next(i for i, (when, mib) in enumerate(samples)
               if when >= marks['rest'] and mib == peak)
    after = [sample for sample in samples[top:] if sample[0] <= end]
    left = None
    if end >= LATER + LATER_SECONDS:
        left = median(between(after, LATER - LATER_SECONDS, LATER + LATER_SECONDS)) - rest
    figures = {'rest_mib': rest, 'peak_mib': peak}
    for percent in QUANTILES:
        level = peak - percent / 100 * (peak - rest)
        figures[f't{percent}'] = below_for_good(after, level)
    figures['left_mib'] = left
    figures['left_end_mib'] = median(between(after, end - REST_SECONDS, end)) - rest
    times = [when for when, _ in samples if when >= marks['rest']]
    figures['gap_ms'] = round(1000 * max(b - a for a, b in zip(times, times[1:])))
    return figures
