"""
The demo's steps: record, anonymize, audit, replay, compare, each with the public command.

The steps are functions of a ``Scene``, so that a campaign can replay and compare as often as it
likes from one recording.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from captures.errors import HookreelError
from captures.reader import CaptureReader
from hookreel.demo.folder import DemoFolder
from hookreel.demo.keyring import pair_credentials, write_keyring
from hookreel.demo.narrator import Narrator
from hookreel.demo.plan import Action, TrafficPlan, plan_traffic
from hookreel.demo.processes import Child, Children, Finished, hookreel_command, module_command, shown_command
from hookreel.demo.target import SLOWER_ENDPOINT, Release
from hookreel.demo.tenants import Tenant, new_tenants, write_tenants
from hookreel.demo.traffic import TrafficReport, send_traffic
from replayer.results import Outcome, read_run

SEED = 20260101
RECORDED_S = 25.0
SPEED = "10x"
REPLAY_ATTEMPTS = 3
BUSY_LAG_P99 = "10ms"  # well below the planted change of 25 ms
SETTLE_S = 3.0
STEPS = 8
EXIT_INVALID_RUN = 4
EXIT_SLOWER = 3
_URL = r"(https?://[\w.:\[\]-]+)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """
    Where the story plays: its folder of files, a scratch folder, its processes and its voice.

    ``replay_options`` are passed on to each ``hookreel replay``, such as other fidelity limits.
    """

    folder: DemoFolder
    scratch: Path
    children: Children
    narrator: Narrator
    replay_options: tuple[str, ...] = ()
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """One valid replay: its run file, how many were sent, the share answered as recorded, attempts."""

    run: Path
    sent: int
    as_recorded: float
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """
    What the comparison says: the verdict of all, and the endpoints that came out SLOWER.

    ``alarms`` are endpoints that came out neither SAME nor INCONCLUSIVE, each with its verdict.
    """

    verdict: str
    slower: tuple[str, ...]
    alarms: tuple[str, ...]

    @property
    def as_planted(self) -> bool:
        """Whether the planted endpoint, and no other, came out SLOWER."""
        return self.slower == (SLOWER_ENDPOINT,)


class InvalidRunsError(HookreelError):
    """All attempts at one replay were INVALID: the machine is too busy for the limits."""


def tell(scene: Scene) -> Judgement:
    """
    The whole story, about a minute.

    Raises:
        HookreelError: a step failed, or its result is not what the story needs.

    """
    staging, replayed = new_tenants(secrets.token_hex), new_tenants(secrets.token_hex)
    write_tenants(scene.folder.staging_tenants, staging)
    write_tenants(scene.folder.replay_tenants, replayed)
    scene.narrator.step("Record: clients talk to the target through the recorder")
    record_traffic(scene, staging, plan_traffic(seed=SEED, duration_s=RECORDED_S))
    scene.narrator.step("Anonymize: replace what is personal or secret, consistently")
    anonymize_capture(scene)
    scene.narrator.step("Audit: look for originals that survived, in every encoding")
    audit_capture(scene)
    scene.narrator.step("Credentials: what the next targets accept instead of the recorded tokens")
    write_credentials(scene, staging, replayed)
    reports = []
    for name, release in (("a1", Release.A), ("a2", Release.A), ("b", Release.B)):
        scene.narrator.step(f"Replay at {SPEED} against a fresh target, release {release}")
        reports.append(replay_patiently(scene, replayed, release, scene.folder.run(name)))
    scene.narrator.step("Compare: is release B slower, where, and how sure is that")
    *baseline, candidate = [report.run for report in reports]
    save_comparison(scene, baseline, [candidate])
    judgement = read_judgement(scene.folder.diff("json").read_text("utf-8"))
    found = ", ".join(judgement.slower) or "no endpoint"
    scene.narrator.result(f"{judgement.verdict}; {found} came out SLOWER.")
    return judgement


def start_target(scene: Scene, tenants_file: Path, release: Release) -> tuple[Child, str]:
    """A fresh target with an empty database, in a process of its own, and its URL."""
    command = module_command("hookreel.demo.target", "--tenants", str(tenants_file), "--release", release)
    scene.narrator.command(shown_command(command))
    child = scene.children.start(command)
    return child, child.wait_for(_URL)


def record_traffic(scene: Scene, tenants: tuple[Tenant, ...], plan: TrafficPlan) -> TrafficReport:
    """
    Record ``plan``, sent through ``hookreel record`` to a target of release A.

    Raises:
        HookreelError: a call was not answered as it should be, or the recording failed.

    """
    target, target_url = start_target(scene, scene.folder.staging_tenants, Release.A)
    command = hookreel_command(
        "record",
        *("--mode", f"reverse:{target_url}", "--listen", "127.0.0.1:0"),
        *("--confdir", str(scene.scratch / "ca"), "-o", str(scene.folder.staging)),
    )
    scene.narrator.command(shown_command(command))
    with scene.narrator.working("starting the recorder"):
        recorder = scene.children.start(command)
        url = recorder.wait_for(_URL)
    with scene.narrator.counting("calls sent", len(plan.calls)) as progress:
        report = send_traffic(url, tenants, plan, progress)
    with scene.narrator.working("stopping the recorder"):
        account = recorder.interrupt()
        target.interrupt()
    _demand("record", account)
    if report.unexpected:
        raise HookreelError(
            f"{len(report.unexpected)} of {report.sent} recorded calls went wrong "
            f"({report.unexpected[0]}); run the demo again on a quieter machine."
        )
    scene.narrator.result(f"{report.sent} calls sent, {_statuses(report.statuses)}.")
    scene.narrator.result(_account(scene.folder.staging))
    return report


def anonymize_capture(scene: Scene) -> None:
    """Anonymize the recording with a fresh key."""
    folder = scene.folder
    command = hookreel_command(
        "anonymize",
        *(str(folder.staging), "-o", str(folder.safe), "--report", str(folder.anonymize_report), "--json"),
    )
    finished = _run(scene, command, "anonymizing")
    _demand("anonymize", finished)
    kinds = _replaced(json.loads(finished.stdout))
    scene.narrator.result(f"Replaced: {kinds}.")


def audit_capture(scene: Scene) -> None:
    """
    Audit the anonymized capture against the recording.

    Raises:
        HookreelError: the audit found a leak or failed.

    """
    command = hookreel_command("audit", str(scene.folder.staging), str(scene.folder.safe))
    finished = _run(scene, command, "auditing")
    _demand("audit", finished)
    scene.narrator.result(" ".join(finished.stdout.split()))


def write_credentials(scene: Scene, staging: tuple[Tenant, ...], replayed: tuple[Tenant, ...]) -> None:
    """Write the credentials file for the replays."""
    paired = pair_credentials(scene.folder.staging, scene.folder.safe, staging)
    write_keyring(scene.folder.credentials, paired, replayed)
    scene.narrator.result(
        f"{scene.folder.credentials} maps {', '.join(sorted(paired))} and holds the new signing secrets."
    )


def replay_once(
    scene: Scene, tenants: tuple[Tenant, ...], release: Release, run: Path, attempts: int = REPLAY_ATTEMPTS
) -> ReplayReport:
    """
    Replay against a fresh, warmed target of ``release``; an invalid run is repeated and said so.

    Raises:
        InvalidRunsError: no attempt gave a valid run.
        HookreelError: many answers are not those recorded.

    """
    reasons = ""
    for attempt in range(1, attempts + 1):
        finished = _replay_fresh(scene, tenants, release, run)
        if finished.exit_code != EXIT_INVALID_RUN:
            _demand("replay", finished)
            return _replay_report(scene, json.loads(finished.stdout), run, attempt)
        run.unlink(missing_ok=True)
        reasons = " ".join(json.loads(finished.stdout)["invalid_reasons"])
        scene.narrator.note(f"Attempt {attempt} of {attempts} gave an INVALID run: {reasons}")
        if attempt < attempts:
            scene.sleep(SETTLE_S)  # what disturbed it may be over soon
    raise InvalidRunsError(
        f"{attempts} replays in a row were INVALID ({reasons}); run the demo again on a quieter machine."
    )


def replay_patiently(scene: Scene, tenants: tuple[Tenant, ...], release: Release, run: Path) -> ReplayReport:
    """
    ``replay_once``, and on a busy machine once more with a wider limit for the send lag.

    The wider limit is said, stands in the run, and is far below the change that is to be found.

    Raises:
        HookreelError: as ``replay_once`` raises it.

    """
    try:
        return replay_once(scene, tenants, release, run)
    except InvalidRunsError:
        scene.narrator.note(
            f"This machine is busy: from here on a send lag p99 of {BUSY_LAG_P99} is accepted. "
            "The runs state that limit, and the change to be found is larger."
        )
        wider = replace(scene, replay_options=(*scene.replay_options, "--lag-p99", BUSY_LAG_P99))
        return replay_once(wider, tenants, release, run)


def compare(scene: Scene, baseline: Sequence[Path], candidate: Sequence[Path]) -> Judgement:
    """
    Compare runs with ``hookreel diff``.

    Raises:
        HookreelError: the comparison failed or was refused.

    """
    finished = scene.children.run(_diff_command(baseline, candidate, "json"))
    _demand_diff(finished)
    return read_judgement(finished.stdout)


def read_judgement(report: str) -> Judgement:
    """The judgement in a JSON report of ``hookreel diff``."""
    content = json.loads(report)
    verdicts = {entry["endpoint"]: entry["verdict"] for entry in content["endpoints"]}
    return Judgement(
        verdict=content["verdict"],
        slower=tuple(endpoint for endpoint, verdict in verdicts.items() if verdict == "SLOWER"),
        alarms=tuple(
            f"{endpoint}: {verdict}"
            for endpoint, verdict in verdicts.items()
            if verdict not in {"SAME", "INCONCLUSIVE"}
        ),
    )


def save_comparison(scene: Scene, baseline: Sequence[Path], candidate: Sequence[Path]) -> None:
    """Write the comparison as text, Markdown and JSON into the demo's folder."""
    for form, suffix in (("text", "txt"), ("markdown", "md"), ("json", "json")):
        command = (*_diff_command(baseline, candidate, form), "-o", str(scene.folder.diff(suffix)))
        _demand_diff(_run(scene, command, "comparing"))


def warm_target(url: str, tenants: tuple[Tenant, ...]) -> None:
    """A second of calls to every kind of endpoint, so that no replay pays for a first time."""
    plan = plan_traffic(seed=SEED + 1, duration_s=4.0, rate_rps=40)
    calls = [replace(call, at_s=call.at_s / 5) for call in plan.calls if call.action is not Action.LOGS]
    send_traffic(url, tenants, replace(plan, calls=tuple(calls)), lambda _begun: None)


def _replay_fresh(scene: Scene, tenants: tuple[Tenant, ...], release: Release, run: Path) -> Finished:
    target, url = start_target(scene, scene.folder.replay_tenants, release)
    with scene.narrator.working("warming the target"):
        warm_target(url, tenants)
    command = hookreel_command(
        *("replay", str(scene.folder.safe), "--target", url, "--speed", SPEED),
        *("--credentials", str(scene.folder.credentials), "-o", str(run), "--json"),
        *scene.replay_options,
    )
    finished = _run(scene, command, "replaying")
    target.interrupt()
    return finished


def _replay_report(scene: Scene, said: dict[str, Any], path: Path, attempt: int) -> ReplayReport:
    rows = read_run(path).rows
    answered = rows.outcome == Outcome.COMPLETED
    share = float(np.mean(answered & (rows.status == rows.recorded_status))) if len(rows) else 0.0
    lag_us, response_ms = said["send_lag_ns"]["p99"] / 1e3, said["response_time_ns"]["p50"] / 1e6
    scene.narrator.result(
        f"{said['sent']} sent in {said['duration_ns'] / 1e9:.2f} s, {share:.1%} answered with the recorded "
        f"status; response time p50 {response_ms:.1f} ms, send lag p99 {lag_us:.0f} us."
    )
    if share < 0.95:
        raise HookreelError(
            f"Only {share:.1%} of {path} was answered with the recorded status; run the demo again."
        )
    return ReplayReport(run=path, sent=said["sent"], as_recorded=share, attempts=attempt)


def _diff_command(baseline: Sequence[Path], candidate: Sequence[Path], form: str) -> tuple[str, ...]:
    return hookreel_command(
        *("diff", "--baseline", *map(str, baseline), "--candidate", *map(str, candidate), "--format", form)
    )


def _run(scene: Scene, command: tuple[str, ...], doing: str) -> Finished:
    scene.narrator.command(shown_command(command))
    with scene.narrator.working(doing):
        return scene.children.run(command)


def _demand(name: str, finished: Finished) -> None:
    if finished.exit_code != 0:
        said = (finished.stderr.strip() or finished.stdout.strip() or "it said nothing").splitlines()[-1]
        raise HookreelError(f"hookreel {name} ended with exit code {finished.exit_code}: {said}")


def _demand_diff(finished: Finished) -> None:
    if finished.exit_code != EXIT_SLOWER:
        _demand("diff", finished)


def _statuses(statuses: dict[int, int]) -> str:
    return ", ".join(f"{count} answered {status}" for status, count in statuses.items())


def _account(capture: Path) -> str:
    with CaptureReader.open(capture) as reader:
        counters = reader.counters
    return (
        f"Account of the recording: {counters.seen} exchanges seen, {counters.written} written, "
        f"{counters.dropped} dropped, {counters.in_flight} in flight at the end."
    )


def _replaced(said: dict[str, Any]) -> str:
    kinds = said.get("kinds", {})
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count) or "nothing"
