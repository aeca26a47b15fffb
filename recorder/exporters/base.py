"""What every exporter is given and gives back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from captures.model import CaptureHeader, Exchange, Headers, Message, Response
from captures.reader import CaptureReader
from captures.slice import Window, exchanges_in
from recorder.exporters.messages import MessagesByStream

Visible = Callable[[Headers], Headers]
"""What of a header list may be shown."""


@dataclass(slots=True)
class ExportNotes:
    """
    What was written, and by exchange what the format has no place for.

    ``apart`` stands in an addition that only hookreel reads, ``lost`` is not in the output at all.
    """

    exchanges: int = 0
    messages: int = 0
    apart: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One exchange with its messages (the END message aside), and the capture it is from."""

    header: CaptureHeader
    exchange: Exchange
    messages: Sequence[Message]


def exported(reader: CaptureReader, window: Window, *, folder: Path | None = None) -> Iterator[Exported]:
    """
    Every exchange in ``window`` in send order, with all its messages.

    Messages are read once; those that take too much memory wait in a nameless file in ``folder``.

    Raises:
        CaptureError: the capture is damaged.
        OSError: that file cannot be written.

    """
    with MessagesByStream(folder) as messages:
        messages.add(reader.messages())
        for exchange in exchanges_in(reader, window):
            is_stream = isinstance(exchange.outcome, Response) and exchange.outcome.stream
            yield Exported(
                header=reader.header,
                exchange=exchange,
                messages=messages.take(exchange.seq) if is_stream else (),
            )


_NAMES = {
    "signing": "signing recipes",
    "trailers": "trailers",
    "truncated_bytes": "marks of cut bodies",
    "body": "compressed bodies as they were sent",
    "headers": "header lists that are not text",
    "offset_ns": "times in whole nanoseconds",
    "end_ns": "times in whole nanoseconds",
    "request_end_ns": "times in whole nanoseconds",
    "stream": "marks of streams",
    "reason": "reasons as they stand",
    "detail": "details of failures",
}


def note_overlay(notes: ExportNotes, overlay: Mapping[str, Any]) -> None:
    """Count, by exchange, what stands in ``overlay`` because the format has no place of its own."""
    found = {
        _NAMES.get(name, "parts of the request line or status line that are not text")
        for part in ("exchange", "request", "outcome")
        for name in overlay.get(part, ())
    }
    if "failure" in overlay or "response" in overlay:
        found.add("outcomes of their kind")
    if "events" in overlay:
        found.add("SSE events with their times")
    notes.apart.update(found)
