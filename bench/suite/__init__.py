# SPDX-License-Identifier: GPL-2.0
"""The benchmarks, by name and in order."""
from suite.churn import Churn, WhenNot
from suite.density import Density
from suite.host import Host
from suite.mix import Mix
from suite.overhead import Overhead
from suite.probes import Latency, Locks, Scale
from suite.step import Step

BENCHES = {bench.name: bench for bench in (
    Step(), Churn(), Overhead(), Mix(), Host(), Locks(), Latency(), Scale(), Density(), WhenNot())}
