"""The command ``info``."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import click

from captures.reader import CaptureReader
from hookreel.account import account_of
from hookreel.picture import Canvas

PLAIN_COLUMNS = 80


@click.command()
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every number in base units.")
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT",
    help="Also write one self-contained page to this new file.",
)
@click.option(
    "--endpoints",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file of endpoint templates: which requests are one endpoint, in place of what was learned.",
)
def info(capture: Path, as_json: bool, page: Path | None, endpoints: Path | None) -> None:
    """
    Show what a capture holds and what is missing.

    The account, connections, a picture of the traffic over time, endpoints with the service times that
    were recorded. Credentials are shown as fingerprints, the names that a credentials file for
    `hookreel replay` uses.

    \b
    Example:
      hookreel info staging.reel
      hookreel info staging.reel --html staging.html
    """
    with CaptureReader.open(capture) as reader:
        if endpoints is not None:
            from replayer.templates import read_templates, use_templates  # noqa: PLC0415  # seldom needed

            use_templates(reader, read_templates(endpoints))
        account = account_of(reader)
    if page is not None:
        from hookreel.info_html import write_page  # noqa: PLC0415  # the text alone starts quicker

        write_page(page, capture.name, account)
        click.echo(f"note: {page} written", err=True)
    if as_json:
        click.echo(json.dumps(account.as_json(), indent=2))
    else:
        from hookreel.info_text import info_text  # noqa: PLC0415  # JSON needs no table

        click.echo(info_text(capture, account, canvas_here()))


def canvas_here() -> Canvas:
    """
    What standard output can show: its width and colours only when it is a terminal.

    NO_COLOR (https://no-color.org) and COLUMNS are respected.
    """
    terminal = sys.stdout.isatty()
    fallback = (PLAIN_COLUMNS, 24)
    return Canvas(
        columns=shutil.get_terminal_size(fallback).columns if terminal else PLAIN_COLUMNS,
        blocks=_can_show_blocks(sys.stdout.encoding),
        colour=terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
    )


def _can_show_blocks(encoding: str | None) -> bool:
    try:
        "▁█│└─".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
