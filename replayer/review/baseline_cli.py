"""The command ``hookreel baseline``: save runs by name, and compare others with them later."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
from tabulate import tabulate

from captures.text import clean, counted
from captures.units import NS_PER_S, format_duration
from replayer.host import host_facts
from replayer.review import baselines
from replayer.review.baselines import Baseline, Unlike
from replayer.review.compare import compare
from replayer.review.judging import (
    end,
    endpoints_option,
    judging_options,
    judging_words,
    named_runs,
    options_of,
    with_endpoints,
)
from replayer.review.latency import MIN_REQUESTS
from replayer.review.quantile_estimates import harrell_davis
from replayer.review.report.material import Material
from replayer.review.sides import NamedRun, split_by_endpoint
from replayer.summary import summarise

_STORE = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("baselines"),
    show_default=True,
    metavar="FOLDER",
    help="Where baselines are kept; it may live in git or an artefact store.",
)


@click.group(name="baseline", short_help="Save runs by name and compare later ones with them.")
def baseline() -> None:
    """
    Save runs by name and compare later ones with them.

    \b
    Example:
      hookreel baseline save main-4f2a1c 1.run 2.run 3.run 4.run 5.run --commit 4f2a1c
      hookreel baseline check main-4f2a1c a.run b.run c.run
    """


@baseline.command(short_help="Save runs as the baseline NAME.")
@click.argument("name")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@_STORE
@click.option(
    "--commit",
    default="",
    envvar=["GITHUB_SHA", "CI_COMMIT_SHA"],
    metavar="SHA",
    help="What was built; in GitHub Actions and GitLab it is known.",
)
@click.option("--replace", "replacing", is_flag=True, help="Take the place of a baseline of this name.")
def save(name: str, runs: tuple[Path, ...], store: Path, commit: str, *, replacing: bool) -> None:
    """
    Save runs as the baseline NAME.

    The runs are copied with a description: commit, capture, load, and the machine that sent them.

    \b
    Example:
      hookreel baseline save main-4f2a1c 1.run 2.run 3.run 4.run 5.run --commit 4f2a1c
    """
    saved = baselines.save(
        store, name, runs, commit=commit, host=host_facts(), now_wall_ns=time.time_ns(), replace=replacing
    )
    click.echo(f"Saved {counted(len(saved.runs), 'run')} as {store / name}.")
    if len(saved.runs) < baselines.ENOUGH_RUNS:
        click.echo(
            f"Note: {baselines.ENOUGH_RUNS} runs or more make a baseline that later runs can be judged by.",
            err=True,
        )


@baseline.command(name="list", short_help="List the baselines of a store.")
@_STORE
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_(store: Path, *, as_json: bool) -> None:
    """
    List the baselines of a store, oldest first.

    \b
    Example:
      hookreel baseline list --store baselines
    """
    found = baselines.everything(store)
    if as_json:
        click.echo(json.dumps([_described(one) for one in found], indent=2))
        return
    rows = [
        (
            one.name,
            clean(one.commit[:12]) or "-",
            _when(one),
            len(one.runs),
            clean(one.load),
            one.capture_id[:12],
        )
        for one in found
    ]
    heads = ("name", "commit", "saved (UTC)", "runs", "load", "capture")
    click.echo(
        tabulate(rows, headers=heads, disable_numparse=True) if rows else f"{store} holds no baseline."
    )


@baseline.command(short_help="Show a baseline: where it comes from, and its response times.")
@click.argument("name")
@_STORE
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(name: str, store: Path, *, as_json: bool) -> None:
    """
    Show a baseline: where it comes from, and its response times.

    \b
    Example:
      hookreel baseline show main-4f2a1c
    """
    found = baselines.load(store, name)
    runs = baselines.load_runs(store, found)
    if as_json:
        click.echo(json.dumps({**_described(found), "endpoints": _medians(runs)}, indent=2))
        return
    facts = [
        ("commit", clean(found.commit) or "-"),
        ("saved (UTC)", _when(found)),
        ("host class", clean(found.host.host_class)),
        ("capture", found.capture_id),
        ("load", clean(found.load)),
    ]
    click.echo(tabulate(facts, tablefmt="plain", disable_numparse=True) + "\n")
    summaries = [(named.name, summarise(named.run)) for named in runs]
    rows = [
        (
            clean(run),
            one.sent,
            one.failed,
            *(
                format_duration(one.response.numbers()[q]) if one.response.sound(q) else "-"
                for q in ("p50", "p99")
            ),
        )
        for run, one in summaries
    ]
    click.echo(tabulate(rows, headers=("run", "sent", "failed", "p50", "p99"), disable_numparse=True) + "\n")
    medians = [
        (clean(label), *(format_duration(pick(times)) if times else "-" for pick in (min, max)))
        for label, times in _medians(runs).items()
    ]
    heads = ("endpoint", "lowest p50 of a run", "highest")
    click.echo(tabulate(medians, headers=heads, disable_numparse=True))


@baseline.command(short_help="Compare runs with the baseline NAME.")
@click.argument("name")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@_STORE
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice([kind.value for kind in Unlike]),
    help="Compare although this differs. Repeats.",
)
@endpoints_option
@judging_options
def check(
    name: str,
    runs: tuple[Path, ...],
    store: Path,
    allow: tuple[str, ...],
    endpoints: Path | None,
    *,
    style: str,
    strict: bool,
    **asked: Any,
) -> None:
    """
    Compare runs with the baseline NAME, as hookreel diff does, with its exit codes.

    Runs of another capture or speed, or sent by a machine of another class, are refused unless allowed.
    What changed on the machine since the baseline was made cannot be told from what changed in
    the release: `hookreel review` replays both in turns.

    \b
    Example:
      hookreel baseline check main-4f2a1c a.run b.run c.run --format markdown
    """
    style = "json" if asked.pop("as_json") else style
    found = baselines.load(store, name)
    candidate = named_runs(runs, endpoints)
    warnings = baselines.check_like(found, candidate, host_facts(), {Unlike(kind) for kind in allow})
    saved = with_endpoints(baselines.load_runs(store, found), endpoints)
    words = [*(f"--allow={kind}" for kind in allow), *judging_words(**asked, endpoints=endpoints)]
    comparison = compare(saved, candidate, options_of(**asked), check_alike=False)
    warnings.append(
        "The baseline was made at another time, so a change of the machine would look like one of the"
        " release; hookreel review replays both in turns."
    )
    if len(saved) < baselines.ENOUGH_RUNS:
        warnings.append(
            f"The baseline has {counted(len(saved), 'run')}; {baselines.ENOUGH_RUNS} or more say more."
        )
    material = Material(
        comparison=replace(comparison, warnings=(*comparison.warnings, *warnings)),
        baseline=tuple(saved),
        candidate=tuple(candidate),
        command=shlex.join(
            ["hookreel", "baseline", "check", name, *map(str, runs), "--store", str(store), *words]
        ),
    )
    end(material, style, strict=strict)


def _when(one: Baseline) -> str:
    return f"{datetime.fromtimestamp(one.saved_wall_ns // NS_PER_S, UTC):%Y-%m-%d %H:%M}"


def _described(one: Baseline) -> dict[str, Any]:
    return {**asdict(one), "host_class": one.host.host_class}


def _medians(runs: list[NamedRun]) -> dict[str, list[float]]:
    """The p50 of each run in ns by endpoint, of the status class it answered most; none of too few."""
    found: dict[str, list[float]] = {}
    for named in runs:
        for label, sample in split_by_endpoint(named.run).items():
            medians = found.setdefault(label, [])
            times_ns = max(sample.times_ns.values(), key=len, default=np.empty(0))
            if len(times_ns) >= MIN_REQUESTS:
                medians.append(harrell_davis(np.sort(times_ns), 0.5))
    return found
