"""
False alarms and hits of ``hookreel diff`` on the demo's own recording.

``python benchmarks/demo_campaign.py [--folder DIR] [--identical 21] [--slower 10]``

One recording is replayed against fresh targets of release A and of release B, interleaved so that
a drift of the machine meets both. Then identical pairs are compared (two runs against one, and one
against one) and so is every replay of B with two of A. Exits with 1 when an identical pair raised
an alarm or the planted endpoint, and no other, was not named every time.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from tabulate import tabulate

from hookreel.demo.folder import prepare_folder
from hookreel.demo.narrator import Narrator
from hookreel.demo.plan import plan_traffic
from hookreel.demo.processes import Children
from hookreel.demo.story import (
    RECORDED_S,
    SEED,
    Judgement,
    ReplayReport,
    Scene,
    anonymize_capture,
    audit_capture,
    compare,
    record_traffic,
    replay_once,
    write_credentials,
)
from hookreel.demo.target import Release
from hookreel.demo.tenants import new_tenants, write_tenants

DIFFS = 20
ATTEMPTS = 10  # a campaign is long, so somebody else's work will get in its way


def main() -> int:
    """Record once, replay and compare many times, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--folder", type=Path, help="keep everything here (default: a temporary folder)")
    parser.add_argument("--identical", type=int, default=21, help="replays of release A (at least 4)")
    parser.add_argument("--slower", type=int, default=10, help="replays of release B")
    parser.add_argument("--lag-p99", help="another limit for the send lag's p99, for a busy machine (5ms)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, Children(Path(scratch)) as children:
        root = options.folder or Path(scratch) / "campaign"
        scene = Scene(
            folder=prepare_folder(root / "demo"),
            scratch=Path(scratch),
            children=children,
            narrator=Narrator(Console(stderr=True, quiet=True), steps=0),
            replay_options=("--lag-p99", options.lag_p99) if options.lag_p99 else (),
        )
        same, slower = replay_all(scene, root / "runs", options.identical, options.slower)
        return judge_all(scene, same, slower)


def replay_all(scene: Scene, runs: Path, identical: int, slower: int) -> tuple[list[Path], list[Path]]:
    """Record and replay; the runs of release A and those of release B."""
    staging, replayed = new_tenants(secrets.token_hex), new_tenants(secrets.token_hex)
    write_tenants(scene.folder.staging_tenants, staging)
    write_tenants(scene.folder.replay_tenants, replayed)
    record_traffic(scene, staging, plan_traffic(seed=SEED, duration_s=RECORDED_S))
    anonymize_capture(scene)
    audit_capture(scene)
    write_credentials(scene, staging, replayed)
    runs.mkdir(parents=True)
    every = max(1, round(identical / max(slower, 1)))
    order = [Release.A] * identical
    for number in range(slower):
        order.insert(min(len(order), (number + 1) * (every + 1) - 1), Release.B)
    reports: dict[Release, list[ReplayReport]] = {Release.A: [], Release.B: []}
    for number, release in enumerate(order, 1):
        report = replay_once(scene, replayed, release, runs / f"{number:03d}-{release}.run", ATTEMPTS)
        reports[release].append(report)
        repeated = f", {report.attempts} attempts" if report.attempts > 1 else ""
        print(
            f"replay {number} of {len(order)}: release {release}, {report.sent} sent, "
            f"{report.as_recorded:.2%} as recorded{repeated}",
            file=sys.stderr,
            flush=True,
        )
    attempts = sum(report.attempts for some in reports.values() for report in some)
    print(f"{len(order)} valid runs in {attempts} attempts")
    return [report.run for report in reports[Release.A]], [report.run for report in reports[Release.B]]


def judge_all(scene: Scene, same: Sequence[Path], slower: Sequence[Path]) -> int:
    """Compare, print alarms and hits, and return the exit code."""

    def at(number: int) -> Path:
        return same[number % len(same)]

    two_to_one = [([at(n), at(n + 1)], [at(n + 2)]) for n in range(DIFFS)]
    one_to_one = [([at(n)], [at(n + 1)]) for n in range(DIFFS)]
    planted = [([at(2 * n), at(2 * n + 1)], [run]) for n, run in enumerate(slower)]
    rows, missed = [], 0
    for name, pairs, fits in (
        ("identical, two against one", two_to_one, _quiet),
        ("identical, one against one", one_to_one, _quiet),
        ("release B against two of A", planted, lambda judgement: judgement.as_planted),
    ):
        row, wrong = _campaign(scene, name, pairs, fits)
        rows.append(row)
        missed += wrong
    print(tabulate(rows, headers=("diffs", "number", "as it should be", "verdicts", "seconds each")))
    return 1 if missed else 0


def _quiet(judgement: Judgement) -> bool:
    return not judgement.alarms


def _campaign(
    scene: Scene,
    name: str,
    pairs: Sequence[tuple[list[Path], list[Path]]],
    fits: Callable[[Judgement], bool],
) -> tuple[tuple[object, ...], int]:
    verdicts: dict[str, int] = {}
    wrong = 0
    started_s = time.monotonic()
    for baseline, candidate in pairs:
        judgement = compare(scene, baseline, candidate)
        verdicts[judgement.verdict] = verdicts.get(judgement.verdict, 0) + 1
        if not fits(judgement):
            wrong += 1
            names = f"{', '.join(run.name for run in baseline)} against {candidate[0].name}"
            print(f"{name}: {names}: {'; '.join(judgement.alarms) or 'no alarm'}")
    each_s = (time.monotonic() - started_s) / max(len(pairs), 1)
    said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    return (name, len(pairs), f"{len(pairs) - wrong} of {len(pairs)}", said, f"{each_s:.1f}"), wrong


if __name__ == "__main__":
    sys.exit(main())
