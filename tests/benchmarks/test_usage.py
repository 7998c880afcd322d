"""CPU time and memory of a process are those of all that it has started."""

import os
import subprocess
import sys

from scripts.benchmarks import usage

STAT = "4711 (a name) with) brackets) S 1 4711 4711 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 1 1 1"
ROLLUP = "00400000-7ffff000 ---p 00000000 00:00 0  [rollup]\nRss:    2048 kB\nPss:    1024 kB\n"


def test_the_name_in_stat_may_hold_anything() -> None:
    assert usage.stat_fields(STAT)[:2] == ["S", "1"]
    assert usage.stat_fields(STAT)[11:13] == ["250", "50"]


def test_counts_of_the_rollup_are_read() -> None:
    assert usage.rollup(ROLLUP) == {"Rss": 2048, "Pss": 1024}


def test_children_count_with_their_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in usage.family(os.getpid())
        assert usage.memory(os.getpid()).rss > usage.memory(child.pid).rss > 0
        assert usage.cpu_seconds(os.getpid()) > 0
        child.communicate(b"\n")
    assert child.pid not in usage.family(os.getpid())
