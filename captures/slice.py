"""A part of a capture as a capture of its own, with times and numbers as they were."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from captures.model import Exchange, MessageKind, Response
from captures.reader import CaptureReader
from captures.writer import CaptureWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """
    Which exchanges are meant; None stands for all.

    Requests with ``start_ns <= offset_ns < stop_ns``, of these endpoint labels and on these
    connections, for which ``wants`` says yes.
    """

    start_ns: int | None = None
    stop_ns: int | None = None
    endpoints: Collection[str] | None = None
    connections: Collection[int] | None = None
    wants: Callable[[Exchange], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sliced:
    """
    What was written.

    ``open_streams`` counts streams that go on after the window: they are cut there and stay open.
    """

    exchanges: int
    messages: int
    open_streams: int


def exchanges_in(reader: CaptureReader, window: Window) -> Iterator[Exchange]:
    """
    The exchanges in ``window``, in send order.

    Raises:
        CaptureError: the capture is damaged.

    """
    for exchange in reader.exchanges(
        start_ns=window.start_ns, stop_ns=window.stop_ns, endpoints=window.endpoints
    ):
        if window.connections is not None and exchange.connection not in window.connections:
            continue
        if window.wants is None or window.wants(exchange):
            yield exchange


def slice_capture(reader: CaptureReader, writer: CaptureWriter, window: Window) -> Sliced:
    """
    Write what is in ``window`` to ``writer``, which stays open.

    Exchanges keep their numbers, connections and offsets, so parts of one capture fit together
    again. A stream's messages are kept up to the window's end.

    Raises:
        CaptureError: the capture is damaged.
        WriteError: the part cannot be written.

    """
    exchanges = messages = 0
    kept = array("q")
    for exchange in exchanges_in(reader, window):
        writer.write(_open_at(exchange, window.stop_ns))
        exchanges += 1
        kept.append(exchange.seq)
    wanted = np.sort(np.frombuffer(kept, np.int64)) if kept else np.empty(0, np.int64)
    cut: set[int] = set()
    for message in reader.messages():
        place = int(np.searchsorted(wanted, message.exchange))
        if place == len(wanted) or int(wanted[place]) != message.exchange:
            continue
        if window.stop_ns is not None and message.offset_ns >= window.stop_ns:
            cut.add(message.exchange)
            continue
        writer.write_message(message)
        messages += message.kind is not MessageKind.END
    return Sliced(exchanges=exchanges, messages=messages, open_streams=len(cut))


def _open_at(exchange: Exchange, stop_ns: int | None) -> Exchange:
    """A stream that ends behind the window is still open at the window's end."""
    outcome = exchange.outcome
    if not isinstance(outcome, Response) or not outcome.stream or stop_ns is None:
        return exchange
    if outcome.end_ns is None or outcome.end_ns < stop_ns:
        return exchange
    return replace(exchange, outcome=replace(outcome, end_ns=None))
