"""Commands that look at a capture: cat, verify."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import click

from captures.errors import UsageError
from captures.reader import CaptureReader
from captures.text import clean, counted
from captures.units import parse_duration_ns
from hookreel.following import Following
from hookreel.following import follow as follow_capture
from hookreel.messages import with_messages
from hookreel.show import Show, exchange_lines, exchange_record, message_record, source_problem_lines

CAPTURE_FILE = click.Path(path_type=Path)
FOLLOW_S = 0.1  # how often a growing file is looked at
_EXIT_INTERRUPTED = 130


@click.command()
@click.argument("capture", type=CAPTURE_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per exchange.")
@click.option(
    "--bodies", is_flag=True, help="Print headers and bodies too, bodies decoded; they may be sensitive."
)
@click.option(
    "--raw", is_flag=True, help="With --bodies: leave their content coding (gzip, br ...) as recorded."
)
@click.option(
    "--from", "start", metavar="DURATION", help="Leave out what came before this offset, like 1.5s."
)
@click.option("--to", "stop", metavar="DURATION", help="Leave out what came at this offset or later.")
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="LABEL",
    help="Only this endpoint label; may be repeated.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many exchanges.")
@click.option("--show-secrets", is_flag=True, help="Print credentials instead of hiding them.")
@click.option(
    "--follow",
    is_flag=True,
    help="Go on while the capture is being recorded, into its next parts too, until that ends.",
)
def cat(
    capture: Path,
    as_json: bool,
    bodies: bool,
    raw: bool,
    start: str | None,
    stop: str | None,
    endpoints: tuple[str, ...],
    limit: int | None,
    show_secrets: bool,
    follow: bool,
) -> None:
    """
    Print the exchanges of a capture in send order.

    Messages of streams (WebSocket, SSE) stand below their exchange. With --follow all comes in the order
    in which it was written, exchanges as they complete and messages one by one, within a second.

    \b
    Example:
      hookreel cat staging.reel --from 10s --to 12s --bodies
      hookreel cat staging.reel --follow
    """
    if raw and not bodies:
        raise UsageError("--raw says how --bodies shows them; give both.")
    show = Show(bodies=bodies, raw=raw, secrets=show_secrets)
    if follow:
        chosen = Following(
            start_ns=None if start is None else parse_duration_ns(start),
            stop_ns=None if stop is None else parse_duration_ns(stop),
            endpoints=endpoints,
            limit=limit,
            as_json=as_json,
            show=show,
        )
        _print_followed(capture, chosen)
        return
    with CaptureReader.open(capture) as reader:
        unknown = [label for label in endpoints if label not in reader.endpoint_labels]
        if unknown:
            raise UsageError(
                f"The capture has no endpoint {unknown[0]!r}; hookreel info {capture} lists them."
            )
        exchanges = reader.exchanges(
            start_ns=None if start is None else parse_duration_ns(start),
            stop_ns=None if stop is None else parse_duration_ns(stop),
            endpoints=endpoints or None,
        )
        for exchange, messages in with_messages(islice(exchanges, limit), reader.messages):
            if as_json:
                record = exchange_record(exchange, show)
                if messages:
                    record["messages"] = [message_record(message, show) for message in messages]
                click.echo(json.dumps(record))
            else:
                for line in exchange_lines(exchange, messages, show):
                    click.echo(line)
        _note(reader.problems)


def _print_followed(capture: Path, chosen: Following) -> None:
    """Until the recording ends, or Ctrl-C does, which is no failure of what was printed."""
    try:
        for line in follow_capture(
            capture, chosen, lambda: time.sleep(FOLLOW_S), lambda text: _note((text,))
        ):
            click.echo(line)
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)


def _note(problems: tuple[str, ...]) -> None:
    for problem in problems:
        click.echo(f"note: {problem}", err=True)


@click.command()
@click.argument("capture", type=CAPTURE_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--salvage", type=CAPTURE_FILE, metavar="OUT", help="Write all that is whole to a new capture.")
def verify(capture: Path, as_json: bool, salvage: Path | None) -> None:
    """
    Check every block and row of a capture.

    Exit code 3 says that something is damaged or missing. A capture that was made from one that lacked
    something is whole itself; what was missing there is said.

    \b
    Example:
      hookreel verify staging.reel
      hookreel verify torn.reel --salvage whole.reel
    """
    from hookreel.verification import verify_capture  # noqa: PLC0415  # keeps info and cat quick to start

    result = verify_capture(capture, salvage_to=salvage)
    if as_json:
        click.echo(json.dumps(asdict(result), indent=2))
    else:
        state = "whole" if result.whole else "NOT WHOLE"
        click.echo(
            f"{capture}: {state}, {counted(result.exchanges, 'exchange')} and "
            f"{counted(result.messages, 'message')} can be read"
        )
        for problem in result.problems:
            click.echo(f"  {clean(problem)}")
        for line in source_problem_lines(result.source_problems):
            click.echo(line)
        if salvage is not None:
            click.echo(f"{salvage}: {counted(result.exchanges, 'exchange')} written")
    if not result.whole:
        sys.exit(3)
