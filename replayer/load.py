"""
What a replay offers: which part of the capture, how often, and what its multiplier means.

Three things are called "ten times the traffic" elsewhere and are different experiments. *Speed*
compresses time, so bursts get tighter and a client hurries. *Copies* overlay more clients at the
recorded pace. A *rate* keeps the mix and the order, and draws new arrivals. A run names which.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from captures.conditions import Condition
from captures.errors import UsageError
from captures.units import NS_PER_S, format_duration, format_multiplier
from replayer.stages import Stage

COPIES_MAX = 65_535
_ONE = Fraction(1)


class Arrivals(StrEnum):
    """How the arrivals of a rate are drawn."""

    POISSON = "poisson"  # independent ones, as those of many clients are
    EVEN = "even"  # one after another at equal distances


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """
    What is offered. ``multiplier`` holds where there are neither ``stages`` nor a ``rate``.

    ``rate`` is in exchanges a second. ``copies`` start evenly spread over ``stagger_ns``; with
    ``own_identities`` each has users, ids and tokens of its own, the same ones for the same ``seed``. The
    capture is gone through ``loops`` times, None for as often as ``duration_ns`` or the stages
    need. ``from_ns`` and ``to_ns`` are offsets in the capture. ``seed`` draws both arrivals and
    identities.
    """

    multiplier: Fraction = _ONE
    stages: tuple[Stage, ...] = ()
    rate: Fraction | None = None
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = 1
    copies: int = 1
    own_identities: bool = False
    stagger_ns: int = NS_PER_S
    loops: int | None = None
    duration_ns: int | None = None
    from_ns: int | None = None
    to_ns: int | None = None
    match: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        """
        Check what excludes what.

        Raises:
            UsageError: two options say different things about the same.

        """
        ways = [
            name
            for name, given in (
                ("--speed", self.multiplier != _ONE),
                ("--stages", bool(self.stages)),
                ("--rate", self.rate is not None),
            )
            if given
        ]
        if len(ways) > 1:
            raise UsageError(f"{ways[0]} and {ways[1]} both say how fast to send; give one of them.")
        if self.rate is not None and self.copies > 1:
            raise UsageError("--rate sets how much is sent by itself; leave --copies out.")
        if self.stages and self.duration_ns is not None:
            raise UsageError("--stages have their own lengths; leave --duration out.")
        if not 1 <= self.copies <= COPIES_MAX:
            raise UsageError(f"A replay has 1 to {COPIES_MAX} copies; change --copies.")
        if self.from_ns is not None and self.to_ns is not None and self.to_ns <= self.from_ns:
            raise UsageError("--to must be later than --from; both count from the capture's start.")

    @property
    def run_ns(self) -> int | None:
        """How long it goes on, None for as long as the capture lasts."""
        return self.stages[-1].stop_ns if self.stages else self.duration_ns

    @property
    def speed(self) -> str:
        """What sets the pace, in a few words: ``10x``, ``500/s``, ``1x:30s,5x:1m``."""
        if self.stages:
            return ",".join(f"{stage.text}:{_time(stage.duration_ns)}" for stage in self.stages)
        if self.rate is not None:
            return f"{_number(self.rate)}/s"
        return format_multiplier(self.multiplier)

    @property
    def text(self) -> str:
        """What the load means, for people and for the run."""
        words = [self._pace_text()]
        if self.copies > 1:
            kind = "copies as different customers" if self.own_identities else "copies"
            words.append(f"{self.copies} {kind} started over {_time(self.stagger_ns)}")
        if self.loops is not None and self.loops > 1:
            words.append(f"{self.loops} times through the capture")
        if self.duration_ns is not None:
            words.append(f"for {_time(self.duration_ns)}")
        if self.from_ns is not None or self.to_ns is not None:
            from_text = _time(self.from_ns or 0)
            words.append(f"from {from_text} to {'the end' if self.to_ns is None else _time(self.to_ns)}")
        if self.match:
            words.append("only " + " or ".join(condition.text for condition in self.match))
        return ", ".join(words)

    def _pace_text(self) -> str:
        if self.stages:
            return f"stages of time compression {self.speed}"
        if self.rate is not None:
            drawn = f"Poisson arrivals, seed {self.seed}" if self.arrivals is Arrivals.POISSON else "evenly"
            return f"the recorded mix at {self.speed} ({drawn})"
        return "the recorded pace" if self.multiplier == _ONE else f"time compressed {self.speed}"


def parse_rate(text: str) -> Fraction:
    """
    Exchanges a second of ``500/s``, ``30/m`` or ``500``.

    Raises:
        UsageError: it is not a rate above 0.

    """
    number, _, unit = text.strip().partition("/")
    seconds = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}.get(unit.strip().lower())
    try:
        rate = Fraction(number.strip()) / (seconds or 0)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= NS_PER_S:
        raise UsageError(f"{text!r} is not a rate; write it like 500/s or 30/m.")
    return rate


def _number(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else f"{float(value):.6g}"


def _time(duration_ns: int) -> str:
    """A duration as the command line takes it, without rounding where it is short."""
    for unit, factor in (("h", 3600 * NS_PER_S), ("m", 60 * NS_PER_S), ("s", NS_PER_S), ("ms", 10**6)):
        if duration_ns and duration_ns % factor == 0:
            return f"{duration_ns // factor}{unit}"
    return format_duration(duration_ns)
