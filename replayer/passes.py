"""The exchanges of a schedule in the order of its rows, each pass through the capture read on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from captures.errors import CaptureError
from captures.model import Exchange
from replayer.schedule import Schedule

OpenPass = Callable[[], Iterator[Exchange]]
"""Gives the capture's exchanges in send order, from the first one that may be scheduled."""

Identity = Callable[[Exchange, int], Exchange]
"""The exchange as the client of an instance (the number of a copy and loop) sends it."""


def exchanges_of(
    schedule: Schedule, open_pass: OpenPass, identity: Identity | None = None
) -> Iterator[Exchange]:
    """
    One exchange for each row of ``schedule``.

    A pass is opened when its first row comes up and closed after its last, so as many are open
    as copies run at a time.

    Raises:
        CaptureError: the capture does not hold what its index says.

    """
    left = np.bincount(schedule.instance, minlength=schedule.instances).tolist()
    passes: dict[int, Iterator[Exchange]] = {}
    for seq, instance in zip(schedule.seq.data, schedule.instance.data, strict=True):
        reading = passes.get(instance)
        if reading is None:
            reading = passes[instance] = open_pass()
        exchange = next((one for one in reading if one.seq == seq), None)
        if exchange is None:
            raise CaptureError("The capture does not hold all exchanges of its index; verify it.")
        left[instance] -= 1
        if not left[instance]:
            del passes[instance]
        yield exchange if identity is None else identity(exchange, instance)
