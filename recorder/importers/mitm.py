"""mitmproxy's flow files, of every version that the installed mitmproxy reads."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mitmproxy import flow as mitm_flow
from mitmproxy import http

from captures.errors import CaptureError
from captures.model import Exchange, Message
from recorder import overlay
from recorder.importers.base import Item, Tally, open_bytes
from recorder.importers.mitm_flow import plain_exchange, plain_messages, wall_ns
from recorder.importers.streams import event_messages, stream_items
from recorder.importers.timeline import NO_TIME_NS, ExportedStart, Timeline
from recorder.importers.tnet import DamagedStretch, FrameReader, find
from recorder.mitm_io import compat, tnetstring

METADATA_KEY = "hookreel"
_NO_TIME = "flow without a time, its offset is made up"


class MitmSource:
    """One flow file; see ``Source``. The first pass, on opening, reads nothing but times."""

    format = "mitmproxy"

    def __init__(self, path: Path) -> None:
        self.tally = Tally()
        self._path = path
        walls, exported = array("q"), ExportedStart()
        whole = 0
        for frame in _frames(path):
            if isinstance(frame, DamagedStretch):
                continue
            whole += 1
            if not _is_http(frame):
                continue
            wall = wall_ns(find(frame, b"request", b"timestamp_start"))
            walls.append(NO_TIME_NS if wall is None else wall)
            stated = find(frame, b"metadata", METADATA_KEY.encode(), b"started_wall_ns")
            exported.add(overlay.started_wall_ns_of({"started_wall_ns": stated}))
        if not whole:
            raise CaptureError(f"{path.name} holds no mitmproxy flow that is whole; give an undamaged copy.")
        self._timeline = Timeline(walls, exported.wall_ns)
        self.started_wall_ns = self._timeline.started_wall_ns
        self.note = self._timeline.note

    def items(self) -> Iterator[Item]:
        """Exchanges in file order, each followed by its messages."""
        connections: dict[str, int] = {}
        number = 0
        for frame in _frames(self._path, self.tally):
            if isinstance(frame, DamagedStretch):
                what = "flow that the end of the file cuts" if frame.cut else "damaged stretch between flows"
                self.tally.drop(what)
            elif not _is_http(frame):
                self.tally.remark("flow that is not HTTP, left out")
            else:
                flow = _flow(frame)
                if flow is None:
                    self.tally.drop("flow that mitmproxy cannot read")
                else:
                    connection = connections.setdefault(flow.client_conn.id, len(connections))
                    yield from self._items_of(flow, number, connection)
                number += 1

    def close(self) -> None:
        """Nothing stays open between the passes."""

    def _items_of(self, flow: http.HTTPFlow, number: int, connection: int) -> Iterator[Item]:
        remarks: Counter[str] = Counter()
        exchange = plain_exchange(
            flow,
            seq=int(self._timeline.seqs[number]),
            connection=connection,
            offset_ns=int(self._timeline.offsets[number]),
            started_wall_ns=self.started_wall_ns,
            remarks=remarks,
        )
        if self._timeline.made_up[number]:
            remarks[_NO_TIME] += 1
        messages = plain_messages(flow, exchange, self.started_wall_ns)
        extra = flow.metadata.get(METADATA_KEY)
        try:
            if extra is not None:
                exchange = overlay.apply(exchange, extra, started_wall_ns=self.started_wall_ns)
                messages = self._exact_messages(messages, exchange, extra)
                remarks.clear()
        except ValueError:
            remarks["damaged addition of ours to a flow, ignored"] += 1
        for what, count in remarks.items():
            self.tally.remark(what, count)
        yield from stream_items(exchange, messages)

    def _exact_messages(self, messages: list[Message], exchange: Exchange, extra: Any) -> list[Message]:
        """Messages with the times that a float cannot hold, and those that are no WebSocket's."""
        exact = extra.get("messages")
        if isinstance(exact, list) and len(exact) == len(messages):
            try:
                messages = [
                    replace(message, offset_ns=int(wall) - self.started_wall_ns, truncated_bytes=int(cut))
                    for message, (wall, cut) in zip(messages, exact, strict=True)
                ]
            except (TypeError, ValueError, OverflowError):
                self.tally.remark("damaged addition of ours to a flow, ignored")
        return messages + event_messages(extra, exchange, self.started_wall_ns)


def open_mitmproxy(path: Path) -> MitmSource:
    """
    Open a flow file.

    Raises:
        CaptureError: not one flow of it is whole.

    """
    return MitmSource(path)


def _frames(path: Path, tally: Tally | None = None) -> Iterator[bytes | DamagedStretch]:
    with open_bytes(path, tally) as file:
        yield from FrameReader(file).frames()


def _is_http(frame: bytes) -> bool:
    kind = find(frame, b"type")
    return kind in {None, b"http"} and find(frame, b"request") is not None


def _flow(frame: bytes) -> http.HTTPFlow | None:
    try:
        state: Any = tnetstring.loads(b"%d:%s}" % (len(frame), frame))
        flow = mitm_flow.Flow.from_state(compat.migrate_flow(state))
    except Exception:  # noqa: BLE001  # migrations of damaged flows raise whatever they trip over
        return None
    return flow if isinstance(flow, http.HTTPFlow) and _is_sound(flow) else None


def _is_sound(flow: Any) -> bool:
    """Whether that is of its type which mitmproxy takes from a file as it stands."""
    messages = () if flow.websocket is None else flow.websocket.messages
    return (
        isinstance(flow.metadata, dict)
        and isinstance(flow.error, mitm_flow.Error | None)
        and all(type(each.from_client) is bool and type(each.content) is bytes for each in messages)
    )
