"""How a run treats its target beside the load: when it ends early, how much may wait, on what connections."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from captures.errors import UsageError
from captures.units import format_duration, parse_duration_ns, parse_share

MIN_FINISHED = 20  # before a share of errors says anything
_CONDITION = re.compile(r"\s*(errors|lag)\s*>\s*(\S+)\s*")


class Connections(StrEnum):
    """Which connection an exchange goes on."""

    RECORDED = "recorded"  # that of its recorded client
    POOL = "pool"  # any that is free
    NEW = "new"  # one of its own, closed after it


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortOn:
    """
    When a run ends itself; None for never.

    ``errors`` is a share (0 to 1) of what was finished: failures and answers of 500 and above.
    ``lag_ns`` is a send lag.
    """

    errors: float | None = None
    lag_ns: int | None = None

    def reason(self, *, errors: int, finished: int, lag_ns: int) -> str | None:
        """Why the run ends now, None while it goes on."""
        if self.errors is not None and finished >= MIN_FINISHED and errors > self.errors * finished:
            return f"{errors} of {finished} exchanges failed or were answered with an error"
        if self.lag_ns is not None and lag_ns > self.lag_ns:
            return f"the send lag is {format_duration(lag_ns)}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """
    ``max_in_flight`` bounds the exchanges that wait for a response; what is due beyond it is dropped.

    With ``http1`` what was captured over HTTP/2 goes over HTTP/1.1 even if the target speaks HTTP/2.
    """

    connections: Connections = Connections.RECORDED
    http1: bool = False
    max_in_flight: int | None = None
    abort_on: AbortOn = AbortOn()


def parse_abort_on(texts: tuple[str, ...]) -> AbortOn:
    """
    The conditions of ``errors>5%`` and ``lag>100ms``.

    Raises:
        UsageError: one is neither.

    """
    errors: float | None = None
    lag_ns: int | None = None
    for text in texts:
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise UsageError(f"{text!r} is no condition to abort on; write errors>5% or lag>100ms.")
        if match[1] == "errors":
            errors = parse_share(match[2])
        else:
            lag_ns = parse_duration_ns(match[2])
    return AbortOn(errors=errors, lag_ns=lag_ns)
