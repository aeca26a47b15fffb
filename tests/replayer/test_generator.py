"""What a run cost: measured from its start, summed over workers."""

from __future__ import annotations

import gc
import time
from pathlib import Path

from replayer.generator import GeneratorFacts, GeneratorWatch, read_steal, together

MS = 1_000_000


def test_a_watch_measures_from_its_start() -> None:
    """Work, collections, stolen time and late looks before it do not count; those after do."""
    steals = iter([5, 100, 130])
    watch = GeneratorWatch(read_steal_ns=lambda: next(steals))
    gc.collect()
    watch.start()
    began_ns = time.process_time_ns()
    while time.process_time_ns() - began_ns < 20 * MS:
        pass
    for late_ns in (5 * MS, 11 * MS, 300 * MS, -3):
        watch.looked(late_ns)
    gc.collect()
    facts = watch.facts()
    assert facts.cpu_ns >= 20 * MS
    assert facts.wall_ns >= 19 * MS
    assert (facts.stalls, facts.longest_stall_ns) == (2, 300 * MS)
    assert (facts.collections, facts.steal_ns, facts.workers) == (1, 30, 1)


def test_workers_add_up() -> None:
    """Processor time and stalls are summed; wall time and stolen time are of the same machine."""
    one = GeneratorFacts(
        workers=1, wall_ns=10, cpu_ns=6, stalls=1, longest_stall_ns=4, collections=0, steal_ns=None
    )
    other = GeneratorFacts(
        workers=1, wall_ns=12, cpu_ns=5, stalls=2, longest_stall_ns=9, collections=1, steal_ns=3
    )
    assert together([one, other]) == GeneratorFacts(
        workers=2, wall_ns=12, cpu_ns=11, stalls=3, longest_stall_ns=9, collections=1, steal_ns=3
    )


def test_stolen_time_is_read_where_it_is_told(tmp_path: Path) -> None:
    """The eighth number of the first line, in ticks; anything else is not known."""
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 250 9 10\ncpu0 0\n")
    assert read_steal(tmp_path / "stat") == 2_500 * MS
    (tmp_path / "stat").write_text("nonsense")
    assert read_steal(tmp_path / "stat") is None
    assert read_steal(tmp_path / "absent") is None
