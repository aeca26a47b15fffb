"""What the commands that end with a verdict share: options, reports and exit codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from captures.errors import UsageError
from captures.units import parse_share
from replayer.results import read_run
from replayer.review.noise_rules import read_rules
from replayer.review.report import wording
from replayer.review.report.material import Material
from replayer.review.report.writers import WRITERS
from replayer.review.sides import InvalidRunError, NamedRun
from replayer.review.slo import parse_objectives
from replayer.review.verdict import Options, Verdict
from replayer.templates import read_templates, with_templates

_OPTIONS = (
    click.option(
        "--format",
        "style",
        type=click.Choice(list(WRITERS)),
        default="text",
        show_default=True,
        help="How to write the report: markdown for a pull request comment, html is one page without"
        " network, codequality for GitLab, benchstat and otava hold the figures of each run for these tools.",
    ),
    click.option("--json", "as_json", is_flag=True, help="The same as --format json."),
    click.option(
        "--margin",
        default="5%",
        show_default=True,
        metavar="SHARE",
        help="The smallest change of response times that matters (1 ms is always the least).",
    ),
    click.option(
        "--slo",
        metavar="OBJECTIVES",
        help="What the candidate must keep, such as p99<1s,errors<0.1%; MISSED is exit code 3.",
    ),
    click.option(
        "--rules",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A TOML file of places in answers to ignore, or to compare without order or with a tolerance.",
    ),
    click.option(
        "--strict",
        is_flag=True,
        help="Exit with 5 when any endpoint is INCONCLUSIVE or an objective NOT PROVEN, if nothing is worse.",
    ),
)


endpoints_option = click.option(
    "--endpoints",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file of endpoint templates, to put endpoints of the runs together.",
)
"""For commands that read runs; to split endpoints, replay with the file."""


def named_runs(paths: Sequence[Path], endpoints: Path | None) -> tuple[NamedRun, ...]:
    """
    The runs of these files, as ``with_endpoints`` has them.

    Raises:
        UsageError: a file cannot be read, or is no file of templates.
        CaptureError: a file is no run.

    """
    return with_endpoints([NamedRun(name=str(path), run=read_run(path)) for path in paths], endpoints)


def with_endpoints(runs: Sequence[NamedRun], endpoints: Path | None) -> tuple[NamedRun, ...]:
    """
    The runs with the endpoints of the file of templates, if there is one.

    Raises:
        UsageError: it cannot be read, or is no file of templates.

    """
    if endpoints is None:
        return tuple(runs)
    templates = read_templates(endpoints)
    return tuple(replace(named, run=with_templates(named.run, templates)) for named in runs)


def judging_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``command`` with these options; see ``Judging``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def options_of(
    *,
    margin: str,
    slo: str | None,
    rules: Path | None,
    paired: bool = False,
    allow_mismatch: bool = False,
) -> Options:
    """
    What the comparison is asked for.

    Raises:
        UsageError: an option cannot be read.

    """
    share = parse_share(margin)
    if not share:
        raise UsageError("A margin of 0 rules nothing out; write it like 5% or 0.05.")
    return Options(
        margin=share,
        paired=paired,
        allow_mismatch=allow_mismatch,
        objectives=parse_objectives(slo) if slo else (),
        rules=read_rules(rules) if rules is not None else (),
    )


def judging_words(
    *, margin: str, slo: str | None, rules: Path | None, endpoints: Path | None = None
) -> tuple[str, ...]:
    """These options again, as they were given, in the words of a command line that makes the same page."""
    words = ["--margin", margin]
    words += ["--slo", slo] if slo else []
    words += ["--rules", str(rules)] if rules is not None else []
    words += ["--endpoints", str(endpoints)] if endpoints is not None else []
    return (*words, "--format", "html")


def end(material: Material, style: str, *, strict: bool) -> None:
    """
    Print the report and end the command with the verdict's exit code.

    Raises:
        InvalidRunError: a run is INVALID and the report is for people, who need no table then.

    """
    comparison = material.comparison
    invalid = comparison.verdict is Verdict.INVALID
    if not invalid or style != "text":
        click.echo(WRITERS[style](material), nl=False)
    if invalid:
        raise InvalidRunError("; ".join(wording.refusals(comparison)) + " Replay it again until it is valid.")
    raise click.exceptions.Exit(comparison.exit_code(strict=strict))
