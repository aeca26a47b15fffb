"""What a sender tells at the end: what it sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from replayer.generator import GeneratorFacts
from replayer.results import RunRows
from replayer.streams import StreamsSent

Start = Callable[[], int]
"""Gives run time 0 on CLOCK_MONOTONIC once everything is prepared; it may wait."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sent:
    """
    What a run of the engine gave.

    ``rows`` holds all rows that came due; fewer than the schedule's when the run was stopped,
    for the reason in ``stopped`` (None when it was not). ``shortages`` counts the exchanges that
    were dropped because this machine could open no connection, by reason; ``crowded_out`` those
    that were dropped because as many waited as may; ``resent`` those that went out twice, as the
    target said of the first time that it had not processed it (HTTP/2).
    """

    rows: RunRows
    started_wall_ns: int
    stopped: str | None
    spare_connections: int
    spare_exchanges: int
    reconnections: int
    shortages: dict[str, int]
    crowded_out: int
    resent: int
    exact_timer: bool
    generator: GeneratorFacts
    streams: StreamsSent
