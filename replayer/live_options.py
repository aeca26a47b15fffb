"""The options of ``hookreel replay`` that say who looks on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from replayer.live import Onlooker, address, listening

_OPTIONS = (
    click.option(
        "--live",
        metavar="PORT",
        help="Show the run on a page of this machine while it goes, at this port; 0 takes any.",
    ),
    click.option("--quiet", "-q", is_flag=True, help="Say nothing on stderr about how the run goes."),
)


def live_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``command`` with these options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def onlooker_of(*, live: str | None, quiet: bool) -> Onlooker:
    """
    Who looks on; a page's address is told on stderr.

    Raises:
        UsageError: the page cannot be where it is wanted.

    """
    page = None if live is None else listening(live)
    if page is not None:
        click.echo(f"Live page: {address(page)}", err=True)
    terminal = sys.stderr.isatty()
    return Onlooker(terminal=terminal and not quiet, lines=not terminal and not quiet, page=page)
