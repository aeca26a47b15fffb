"""The options of ``hookreel replay`` that say what is offered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from captures.conditions import parse_condition
from captures.errors import UsageError
from captures.units import parse_duration_ns, parse_multiplier
from replayer.identities import MakeIdentities
from replayer.load import Arrivals, Load, parse_rate
from replayer.stages import parse_stages

_META_KEY = "replayer.make_identities"

_OPTIONS = (
    click.option("--speed", metavar="N", help="Time compression: 10x, 1.5x, 1/3x.  [default: 1x]"),
    click.option(
        "--stages", metavar="STAGES", help="Time compression by stage: 1x:30s,5x:1m,ramp 10x-20x:1m."
    ),
    click.option(
        "--rate", metavar="RATE", help="Keep mix and order, draw new arrivals: 500/s. Instead of --speed."
    ),
    click.option(
        "--arrivals",
        type=click.Choice([kind.value for kind in Arrivals]),
        default=Arrivals.POISSON.value,
        show_default=True,
        help="How the arrivals of --rate are drawn.",
    ),
    click.option(
        "--seed", type=click.IntRange(0), default=1, show_default=True, help="Draws arrivals and identities."
    ),
    click.option(
        "--copies", type=int, default=1, show_default=True, help="Overlay so many copies of the traffic."
    ),
    click.option(
        "--keep-identities", is_flag=True, help="Copies keep the recorded users, ids and tokens, all alike."
    ),
    click.option(
        "--stagger", default="1s", show_default=True, metavar="TIME", help="The copies start over this time."
    ),
    click.option("--loop", type=click.IntRange(1), metavar="N", help="Go through the capture so many times."),
    click.option(
        "--duration", metavar="TIME", help="End after this; the capture is cut, or begins again, as needed."
    ),
    click.option("--from", "from_", metavar="TIME", help="Begin at this offset of the capture: 90s."),
    click.option("--to", metavar="TIME", help="End before this offset of the capture."),
    click.option(
        "--match",
        multiple=True,
        metavar="CONDITION",
        help="Send only what fits: method=POST path=/api/*. Repeats: one is enough.",
    ),
)


def use_identities(context: click.Context, make: MakeIdentities) -> None:
    """Let the command that runs in ``context`` make customers of copies with what ``make`` makes."""
    context.meta[_META_KEY] = make


def identities_in_use() -> MakeIdentities | None:
    """What makes customers of copies in the command that runs; None where nobody said it."""
    make: MakeIdentities | None = click.get_current_context().meta.get(_META_KEY)
    return make


def load_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``command`` with these options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def load_of(
    *,
    speed: str | None,
    stages: str | None,
    rate: str | None,
    arrivals: str,
    seed: int,
    copies: int,
    keep_identities: bool,
    stagger: str,
    loop: int | None,
    duration: str | None,
    from_: str | None,
    to: str | None,
    match: Sequence[str],
) -> Load:
    """
    What these options ask for.

    Raises:
        UsageError: one cannot be read, or two exclude each other.

    """
    if speed is not None and (stages or rate):
        raise UsageError("--speed, --stages and --rate each say how fast to send; give one of them.")
    return Load(
        multiplier=parse_multiplier(speed or "1x"),
        stages=parse_stages(stages) if stages else (),
        rate=parse_rate(rate) if rate else None,
        arrivals=Arrivals(arrivals),
        seed=seed,
        copies=copies,
        own_identities=not keep_identities,
        stagger_ns=parse_duration_ns(stagger),
        loops=loop,
        duration_ns=_length_ns(duration, "--duration"),
        from_ns=parse_duration_ns(from_) if from_ else None,
        to_ns=_length_ns(to, "--to"),
        match=tuple(parse_condition(text) for text in match),
    )


def _length_ns(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    length_ns = parse_duration_ns(text)
    if not length_ns:
        raise UsageError(f"{option} 0 leaves nothing to send; write it like 30s or 5m.")
    return length_ns
