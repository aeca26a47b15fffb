"""What was said on the streams of a run: a row per message, in columns."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from captures.columns import MAX_ROWS, ColumnBlock
from captures.errors import CaptureError

NEVER_NS = -1  # as in the rows of a run, which these belong to
NO_CAUSE = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MessageRows:
    """
    The WebSocket messages and SSE events of a run; every array has the same length.

    ``stream`` is the row (in the run) of the exchange that opened the stream. Times are int64 ns of run
    time: ``due_ns`` when a client's message was due (NEVER_NS for a server's), ``at_ns`` when it was sent
    or came, NEVER_NS if it was never sent. ``size_bytes`` counts payload bytes. ``cause`` is the
    row of the exchange whose response minted a value that a server's message says, or ``NO_CAUSE``.
    """

    stream: NDArray[np.int64]
    due_ns: NDArray[np.int64]
    at_ns: NDArray[np.int64]
    cause: NDArray[np.int64]
    size_bytes: NDArray[np.uint32]
    from_client: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.stream)

    @classmethod
    def none(cls) -> Self:
        """Of a run without streams."""
        return cls(**{name: np.empty(0, dtype) for name, dtype in COLUMN_TYPES.items()})

    @property
    def lag_ns(self) -> NDArray[np.int64]:
        """Send lag of each message of a client that was sent."""
        sent = (self.from_client == 1) & (self.at_ns != NEVER_NS)
        lag_ns: NDArray[np.int64] = np.subtract(self.at_ns[sent], self.due_ns[sent])
        return lag_ns


COLUMN_TYPES: dict[str, np.dtype[Any]] = {
    "stream": np.dtype("<i8"),
    "due_ns": np.dtype("<i8"),
    "at_ns": np.dtype("<i8"),
    "cause": np.dtype("<i8"),
    "size_bytes": np.dtype("<u4"),
    "from_client": np.dtype("u1"),
}


class MessageLog:
    """Messages while a run goes on, in the order in which they were sent or came."""

    __slots__ = ("_at_ns", "_due_ns", "_from_client", "_size_bytes", "_stream")

    def __init__(self) -> None:
        self._stream = array("q")
        self._due_ns = array("q")
        self._at_ns = array("q")
        self._size_bytes = array("I")
        self._from_client = array("B")

    def __len__(self) -> int:
        return len(self._stream)

    def sent(self, stream: int, due_ns: int, at_ns: int, size_bytes: int) -> None:
        """A client's message was sent, or never (``NEVER_NS``)."""
        self._add(stream, due_ns, at_ns, size_bytes, from_client=1)

    def heard(self, stream: int, at_ns: int, size_bytes: int) -> None:
        """A server's message came."""
        self._add(stream, NEVER_NS, at_ns, size_bytes, from_client=0)

    def _add(self, stream: int, due_ns: int, at_ns: int, size_bytes: int, *, from_client: int) -> None:
        self._stream.append(stream)
        self._due_ns.append(due_ns)
        self._at_ns.append(at_ns)
        self._size_bytes.append(min(size_bytes, 0xFFFFFFFF))
        self._from_client.append(from_client)

    def rows(self) -> MessageRows:
        """What was said so far; no cause is known yet."""
        return MessageRows(
            stream=np.array(self._stream, np.int64),
            due_ns=np.array(self._due_ns, np.int64),
            at_ns=np.array(self._at_ns, np.int64),
            cause=np.full(len(self), NO_CAUSE, np.int64),
            size_bytes=np.array(self._size_bytes, np.uint32),
            from_client=np.array(self._from_client, np.uint8),
        )


def joined_messages(parts: list[MessageRows]) -> MessageRows:
    """The messages of several processes, one after another; at least one part."""
    names = [field.name for field in fields(MessageRows)]
    return MessageRows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def message_columns(rows: MessageRows) -> list[dict[str, NDArray[Any]]]:
    """The rows as they are stored: columns of at most ``MAX_ROWS`` rows each."""
    columns = {name: np.asarray(getattr(rows, name), dtype) for name, dtype in COLUMN_TYPES.items()}
    return [
        {name: column[start : start + MAX_ROWS] for name, column in columns.items()}
        for start in range(0, len(rows), MAX_ROWS)
    ]


def build_messages(chunks: list[ColumnBlock], rows: int) -> MessageRows:
    """
    The messages of a stored run of ``rows`` rows.

    Raises:
        CaptureError: a column is damaged, or names a row that is not there.

    """
    if not chunks:
        return MessageRows.none()
    columns: dict[str, Any] = {}
    for name, dtype in COLUMN_TYPES.items():
        parts = [chunk.column(name) for chunk in chunks]
        if any(part.dtype != dtype for part in parts):
            raise CaptureError(f"The column {name} is damaged; replay again to make a new run.")
        columns[name] = np.concatenate(parts)
    found = MessageRows(**columns)
    for column, least in ((found.stream, 0), (found.cause, NO_CAUSE)):
        if len(column) and not (least <= int(np.min(column)) and int(np.max(column)) < rows):
            raise CaptureError("The run's messages name an exchange that is not there; replay again.")
    return found
