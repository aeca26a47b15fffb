"""The command ``hookreel diff``."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path

import click

from captures.errors import UsageError, WriteError
from replayer.review.compare import compare
from replayer.review.judging import (
    endpoints_option,
    judging_options,
    judging_words,
    named_runs,
    options_of,
)
from replayer.review.report import pipelines, wording
from replayer.review.report.headline import headline
from replayer.review.report.material import Material
from replayer.review.report.writers import WRITERS
from replayer.review.sides import InvalidRunError
from replayer.review.verdict import Verdict

_SIDES = ("--baseline", "--candidate")


class _ManyValues(click.Command):
    """
    A command whose ``--baseline`` and ``--candidate`` take every value up to the next option.

    click has options of a fixed number of values only, and a shell expands ``--baseline a*.run``
    into several words; they become one option each before click sees them.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread(args))


def spread(args: list[str]) -> list[str]:
    """``--baseline a b --x`` as ``--baseline a --baseline b --x``; everything after ``--`` stays."""
    result: list[str] = []
    side = ""
    for at, word in enumerate(args):
        if word == "--":
            return [*result, *args[at:]]
        name, has_value, _ = word.partition("=")
        if name in _SIDES:
            side = name
            if has_value:
                result.append(word)
            elif at + 1 == len(args) or args[at + 1].startswith("-"):
                result.append(word)  # click says that the value is missing
        elif word.startswith("-") or not side:
            side = ""
            result.append(word)
        else:
            result += [side, word]
    return result


@click.command(
    cls=_ManyValues,
    name="diff",
    help="""Say what got slower between runs, and how sure that is.

Or whether a release answers differently, and on which endpoint.

BASELINE and CANDIDATE are .run files of the same capture replayed at the same speed. With 3 or more runs
on each side the runs are tested against each other; with fewer the answer rests on weaker evidence and
says so. Exit code 3: slower or different answers, 4: a run is not valid, 5: inconclusive with --strict.

\b
Examples:
  hookreel diff baseline.run candidate.run
  hookreel diff --baseline a.run b.run --candidate c.run d.run --format html -o report.html
""",
)
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="[BASELINE CANDIDATE]")
@click.option(
    "--baseline",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="RUN...",
    help="Runs to compare with: one or more files, or the option repeated.",
)
@click.option(
    "--candidate",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="RUN...",
    help="Runs to judge: one or more files, or the option repeated.",
)
@judging_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the report to this new file; the verdict line still goes to standard output.",
)
@click.option(
    "--paired",
    is_flag=True,
    help="The runs of both sides were interleaved: pair them in the order they were made.",
)
@click.option(
    "--annotate",
    is_flag=True,
    help="Also write GitHub workflow commands to standard error, an annotation for each changed endpoint.",
)
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _param, asked: _print_schema(context, asked=asked),
    help="Print the JSON schema of --format json and exit.",
)
@endpoints_option
@click.option(
    "--allow-mismatch",
    is_flag=True,
    help="Compare runs of different captures, schedules, speeds or classes of machine all the same.",
)
def diff(
    runs: tuple[Path, ...],
    baseline: tuple[Path, ...],
    candidate: tuple[Path, ...],
    style: str,
    as_json: bool,
    output: Path | None,
    margin: str,
    slo: str | None,
    paired: bool,
    rules: Path | None,
    strict: bool,
    annotate: bool,
    allow_mismatch: bool,
    endpoints: Path | None,
) -> None:
    """Parse, compare, print, exit."""
    before, after = _sides(runs, baseline, candidate)
    options = options_of(margin=margin, slo=slo, rules=rules, paired=paired, allow_mismatch=allow_mismatch)
    style = "json" if as_json else style
    words = ["hookreel", "diff", "--baseline", *map(str, before), "--candidate", *map(str, after)]
    words += ["--paired"] if paired else []
    words += ["--allow-mismatch"] if allow_mismatch else []
    words += judging_words(margin=margin, slo=slo, rules=rules, endpoints=endpoints)
    runs_before, runs_after = named_runs(before, endpoints), named_runs(after, endpoints)
    material = Material(
        comparison=compare(runs_before, runs_after, options),
        baseline=runs_before,
        candidate=runs_after,
        command=shlex.join(words),
    )
    comparison = material.comparison
    if comparison.verdict is not Verdict.INVALID or style != "text" or output is not None:
        _emit(WRITERS[style](material), headline(comparison), output)
    if annotate:
        click.echo(pipelines.workflow_commands(comparison), nl=False, err=True)
    if comparison.verdict is Verdict.INVALID:
        raise InvalidRunError("; ".join(wording.refusals(comparison)) + " Replay it again until it is valid.")
    raise click.exceptions.Exit(comparison.exit_code(strict=strict))


def _print_schema(context: click.Context, *, asked: bool) -> None:
    if asked:
        schema = files("replayer") / "review/report/diff.schema.json"
        click.echo(schema.read_text(encoding="utf-8"), nl=False)
        context.exit()


def _sides(
    runs: tuple[Path, ...], baseline: tuple[Path, ...], candidate: tuple[Path, ...]
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The files of both sides, whichever way they were named."""
    if runs and (baseline or candidate):
        raise UsageError(
            "Name the runs either as BASELINE CANDIDATE or with --baseline and --candidate, not both."
        )
    if not runs:
        if not baseline or not candidate:
            raise UsageError("Name a baseline and a candidate: hookreel diff baseline.run candidate.run")
        return baseline, candidate
    if len(runs) != 2:
        raise UsageError(
            f"BASELINE CANDIDATE takes two runs, not {len(runs)}; name more with"
            " --baseline A.run B.run --candidate C.run D.run."
        )
    return runs[:1], runs[1:]


def _emit(report: str, headline: str, output: Path | None) -> None:
    """Print the report, or write it to a new file and print its headline."""
    if output is None:
        click.echo(report, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(report)
    except FileExistsError:
        raise UsageError(f"{output} exists already; name a new file.") from None
    except OSError as error:
        raise WriteError(f"{output} could not be written ({error.strerror}); name another place.") from None
    click.echo(headline)
