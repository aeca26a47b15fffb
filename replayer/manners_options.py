"""The options of ``hookreel replay`` that say how it treats its target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from replayer.manners import Connections, Manners, parse_abort_on

_OPTIONS = (
    click.option(
        "--connections",
        type=click.Choice([kind.value for kind in Connections]),
        default=Connections.RECORDED.value,
        show_default=True,
        help="As recorded, any free one of a pool, or a new one for each exchange.",
    ),
    click.option("--http1", is_flag=True, help="Send what was captured over HTTP/2 over HTTP/1.1 too."),
    click.option(
        "--max-in-flight",
        type=click.IntRange(1),
        metavar="N",
        help="Drop what is due while so many wait for a response.",
    ),
    click.option(
        "--abort-on",
        multiple=True,
        metavar="CONDITION",
        help="End the run on errors>5% (failures and answers of 500 and above) or lag>100ms. Repeats.",
    ),
    click.option(
        "--expect",
        type=click.Choice(["recorded-status"]),
        help="Exit with 3 when an exchange is answered otherwise than recorded.",
    ),
    click.option("--mark", is_flag=True, help="Send the header X-Hookreel-Run with the run's id."),
)


def manners_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``command`` with these options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def manners_of(
    *, connections: str, http1: bool, max_in_flight: int | None, abort_on: tuple[str, ...]
) -> Manners:
    """
    What these options ask for.

    Raises:
        UsageError: a condition cannot be read.

    """
    return Manners(
        connections=Connections(connections),
        http1=http1,
        max_in_flight=max_in_flight,
        abort_on=parse_abort_on(abort_on),
    )
