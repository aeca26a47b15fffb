"""The command ``hookreel review``: interleaved replays of two builds, and the verdict on them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from tabulate import tabulate

from captures.errors import HookreelError
from captures.text import clean
from captures.units import parse_duration_ns
from replayer.review.children import await_connections, terminated_as_interrupted
from replayer.review.interleave import LOG_NAME
from replayer.review.judging import end, judging_options, judging_words, options_of
from replayer.review.plan import MIN_PAIRS, Side
from replayer.review.report.writers import WRITERS
from replayer.review.reviewing import Request, command_words, review
from replayer.review.tools import RealTools, RunReplay
from replayer.targets import parse_target

# What a review sets by itself, what others could read on a command line, and what gets in the way.
_NOT_HANDED_ON = frozenset(
    {"target", "output", "json_wanted", "dry_run", "secret", "live", "quiet", "identity"}
)
_LENGTHS = ("duration", "stages", "loop")
REPORTS = {
    "report.txt": "text",
    "report.json": "json",
    "report.md": "markdown",
    "report.html": "html",
    "junit.xml": "junit",
    "codequality.json": "codequality",
}
"""The files that a review writes, and the format of each."""

_OPTIONS = (
    click.option("--baseline", required=True, metavar="URL", help="Where the build to compare with answers."),
    click.option("--candidate", required=True, metavar="URL", help="Where the build to judge answers."),
    click.option(
        "-o",
        "--output",
        "folder",
        required=True,
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Keep runs and reports here; the same command goes on with what is there.",
    ),
    click.option(
        "--pairs", type=click.IntRange(MIN_PAIRS, 99), metavar="N", help="Pairs of replays.  [default: 8]"
    ),
    click.option(
        "--budget", metavar="TIME", help="Choose pairs and length of the replays to fit into this: 20m."
    ),
    click.option(
        "--before",
        metavar="COMMAND",
        help="Run this before each replay, to restore state and restart the target; no shell reads it. "
        "{side} and {target} stand for baseline or candidate and its URL.",
    ),
    click.option(
        "--order-seed",
        type=click.IntRange(0),
        metavar="N",
        help="Draws the order of the replays; FOLDER keeps it.",
    ),
    click.option(
        "--ledger",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Where reviews keep what they learn of noise.  [default: IN.noise]",
    ),
)


def _own_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def review_command(replay: click.Command, run_replay: RunReplay) -> click.Command:
    """
    The command, with the options of ``replay`` that are handed on to each replay.

    ``run_replay`` runs ``hookreel replay`` with the given words as a process of its own, so that each
    replay begins with the same memory, whatever the ones before it left.
    """
    own = _review.params
    handed = [
        param
        for param in replay.params
        if isinstance(param, click.Option) and param.name not in _NOT_HANDED_ON
    ]
    command = click.Command(
        name="review",
        callback=_review.callback,
        params=[*own, *handed],
        help=_review.help,
        short_help=_review.short_help,
        context_settings={"obj": (run_replay, tuple(handed))},
    )
    names = [param.name for param in command.params]
    assert len(set(names)) == len(names), "an option of replay has the name of one of review"
    return command


@click.command(name="review", short_help="Replay two builds in turns and say what changed.")
@click.argument("capture", metavar="IN", type=click.Path(path_type=Path))
@_own_options
@judging_options
@click.pass_context
def _review(
    ctx: click.Context,
    /,
    *,
    capture: Path,
    style: str,
    as_json: bool,
    strict: bool,
    margin: str,
    slo: str | None,
    rules: Path | None,
    folder: Path,
    before: str | None,
    budget: str | None,
    **asked: Any,
) -> None:
    """
    Replay two builds in turns and say what changed.

    Each pair replays the capture IN against both builds, in random order, so that a drift of the
    machine meets both alike. The verdict is that of `hookreel diff --paired`, with its exit codes.
    Stopped with Ctrl-C, the same command goes on. Options of `hookreel replay` are handed on to
    every replay; signing secrets come from --credentials or the environment.

    \b
    Example:
      hookreel review safe.reel --baseline http://localhost:3000 --candidate http://localhost:3001 \\
        --speed 10x --before "docker compose restart {side}" -o review
    """
    run_replay, handed = ctx.obj
    options = options_of(margin=margin, slo=slo, rules=rules)
    request = Request(
        capture=capture,
        targets={Side.BASELINE: asked["baseline"], Side.CANDIDATE: asked["candidate"]},
        folder=folder,
        words=handed_words(ctx, handed),
        sized=tuple(name for name in _LENGTHS if asked.get(name) is not None),
        pairs=asked["pairs"],
        budget_ns=None if budget is None else parse_duration_ns(budget),
        before=command_words(before),
        seed=asked["order_seed"],
        judged=judging_words(margin=margin, slo=slo, rules=rules),
        ledger=asked["ledger"] or capture.with_name(f"{capture.name}.noise"),
        keeps=asked["keep_bodies"] != "none" and asked["key_file"] is None,
    )
    where = {
        url: parse_target(url, allowed_hosts=asked["allow_host"], resolve=asked["resolve"])
        for url in request.targets.values()
    }
    tools = RealTools(run_replay, folder / LOG_NAME, lambda url: await_connections(where[url]))
    try:
        with terminated_as_interrupted():
            material, floors = review(request, options, tools, lambda: secrets.randbits(32), _say)
    except KeyboardInterrupt:
        raise HookreelError(f"Stopped; run the same command to go on with {folder}.") from None
    for name, form in REPORTS.items():
        (folder / name).write_text(WRITERS[form](material), encoding="utf-8")
    if floors:
        heads = ("endpoint", "noise of p50 / p95", "pairs for +10 %")
        _say(tabulate([(clean(row[0]), *row[1:]) for row in floors], headers=heads, disable_numparse=True))
    end(material, "json" if as_json else style, strict=strict)


def handed_words(ctx: click.Context, options: Sequence[click.Option]) -> tuple[str, ...]:
    """The options that were given on the command line, in the words of a command line."""
    words: list[str] = []
    for option in options:
        assert option.name is not None
        if ctx.get_parameter_source(option.name) is not ParameterSource.COMMANDLINE:
            continue
        value, name = ctx.params[option.name], max(option.opts, key=len)
        if option.is_flag:
            words.append(name if value else max(option.secondary_opts, key=len))
        else:
            words += [f"{name}={one}" for one in (value if option.multiple else (value,))]
    return tuple(words)


def _say(text: str) -> None:
    click.echo(text, err=True)
