"""HAR 1.2 documents, with WebSocket messages; two passes, in memory bounded by the largest entry."""

from __future__ import annotations

import base64
import binascii
import heapq
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captures.errors import CaptureError, FileKindError
from captures.model import Exchange, Message, MessageKind, Response
from recorder import overlay
from recorder.importers.base import Item, Tally, open_bytes
from recorder.importers.har_entry import (
    NO_REQUEST,
    NO_TIME,
    NOT_HTTP,
    duration_ns,
    plain_exchange,
    start_wall_ns,
)
from recorder.importers.json_entries import Broken, EntryScanner
from recorder.importers.streams import event_messages, stream_items
from recorder.importers.timeline import NO_TIME_NS, ExportedStart, Timeline, exact_ns

OVERLAY_FIELD = "_hookreel"
_MAX_SECONDS = 2**32
_TIME_UNITS_ABOVE = 1e11  # seconds since 1970 stay below it for 3,000 years, milliseconds do not


class HarSource:
    """One HAR document; see ``Source``. The first pass over it, on opening, only looks at times."""

    format = "har"

    def __init__(self, path: Path) -> None:
        self.tally = Tally()
        self._path = path
        plan = _Plan(path)
        self._timeline = plan.timeline
        self._connections = plan.connections
        self.started_wall_ns = plan.timeline.started_wall_ns
        self.note = plan.timeline.note

    def items(self) -> Iterator[Item]:
        """Exchanges in the document's order, each followed by its messages."""
        number = 0
        for entry in _entries(self._path, self.tally):
            if isinstance(entry, Broken):
                self._drop_broken(entry)
                continue
            if not isinstance(entry, dict):
                self.tally.drop("entry that is no object")
                continue
            yield from self._items_of(entry, number)
            number += 1

    def close(self) -> None:
        """Nothing stays open between the passes."""

    def _drop_broken(self, broken: Broken) -> None:
        self.tally.drop(
            "entry that the end of the file cuts" if broken.cut else "entry that is not valid JSON"
        )

    def _items_of(self, entry: dict[str, Any], number: int) -> Iterator[Item]:
        remarks: Counter[str] = Counter()
        exchange = plain_exchange(
            entry,
            seq=int(self._timeline.seqs[number]),
            connection=self._connections[number],
            offset_ns=int(self._timeline.offsets[number]),
            remarks=remarks,
        )
        if exchange is None:
            has_request = isinstance(entry.get("request"), dict)
            self.tally.drop(NOT_HTTP if has_request else NO_REQUEST)
            return
        if self._timeline.made_up[number]:
            remarks[NO_TIME] += 1
        if entry.get("_fromCache"):
            remarks["entry that was served from a cache, kept"] += 1
        extra = entry.get(OVERLAY_FIELD)
        try:
            if extra is not None:
                exchange = overlay.apply(exchange, extra, started_wall_ns=self.started_wall_ns)
                remarks.clear()
        except ValueError:
            remarks["damaged addition of ours to an entry, ignored"] += 1
        for what, count in remarks.items():
            self.tally.remark(what, count)
        yield from stream_items(exchange, self._messages(entry, exchange))

    def _messages(self, entry: dict[str, Any], exchange: Exchange) -> list[Message]:
        outcome = exchange.outcome
        if not isinstance(outcome, Response) or not outcome.stream:
            return []
        found: list[Message] = []
        listed = entry.get("_webSocketMessages")
        for item in listed if isinstance(listed, list) else ():
            message = websocket_message(item, exchange, self.started_wall_ns)
            if message is None:
                self.tally.remark("WebSocket message that is none, left out")
            else:
                found.append(message)
        found += event_messages(entry.get(OVERLAY_FIELD), exchange, self.started_wall_ns)
        return found


def open_har(path: Path) -> HarSource:
    """
    Open a HAR document.

    Raises:
        CaptureError: it holds no list of entries.

    """
    return HarSource(path)


def websocket_message(item: Any, exchange: Exchange, started_wall_ns: int) -> Message | None:
    """
    One item of ``_webSocketMessages``, as Chromium, Firefox and mitmproxy write them; None for others.

    Ping, pong and close frames are none of a capture's messages.
    """
    if not isinstance(item, dict) or not isinstance(item.get("data"), str):
        return None
    opcode = item.get("opcode", 1)
    if opcode not in (1, 2) or isinstance(opcode, bool):
        return None
    data = item["data"]
    try:
        payload = data.encode("utf-8", "replace") if opcode == 1 else base64.b64decode(data)
    except (binascii.Error, ValueError):
        payload = data.encode("utf-8", "replace")  # some exporters leave binary frames as text
    offset_ns = _message_offset_ns(item, exchange, started_wall_ns)
    cut = item.get("_truncated_bytes")
    return Message(
        exchange=exchange.seq,
        offset_ns=offset_ns,
        from_client=item.get("type") in ("send", "request"),
        kind=MessageKind.TEXT if item.get("_opcode", opcode) == 1 else MessageKind.BINARY,
        payload=payload,
        truncated_bytes=cut if type(cut) is int and 0 <= cut < 2**40 else 0,
    )


def _message_offset_ns(item: dict[str, Any], exchange: Exchange, started_wall_ns: int) -> int:
    exact = item.get("_wall_ns")
    if type(exact) is int and 0 <= exact - started_wall_ns < 2**62:
        return exact - started_wall_ns
    time = item.get("time")
    if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time < 1000 * _MAX_SECONDS:
        return exchange.outcome.offset_ns
    seconds = time / 1000 if time > _TIME_UNITS_ABOVE else time
    if seconds >= _MAX_SECONDS:
        return exchange.outcome.offset_ns
    return max(exchange.offset_ns, exact_ns(seconds) - started_wall_ns)


# -- the first pass ------------------------------------------------------------------------------


class _Plan:
    """When each entry's request was sent, its number and its connection."""

    def __init__(self, path: Path) -> None:
        walls, durations = array("q"), array("q")
        named, groups = array("q"), array("q")
        names: dict[str, int] = {}
        hosts: dict[str, int] = {}
        exported = ExportedStart()
        for entry in _entries(path):
            if not isinstance(entry, dict):
                continue
            wall_ns = start_wall_ns(entry)
            walls.append(NO_TIME_NS if wall_ns is None else wall_ns)
            durations.append(duration_ns(entry.get("time")) or 0)
            name = _connection_name(entry)
            named.append(-1 if name is None else names.setdefault(name, len(names)))
            groups.append(hosts.setdefault(_host(entry), len(hosts)))
            exported.add(overlay.started_wall_ns_of(entry.get(OVERLAY_FIELD)))
        self.timeline = Timeline(walls, exported.wall_ns)
        self.connections = _spread(self.timeline, durations, groups, named, len(names))


def _spread(
    timeline: Timeline, durations: array[int], groups: array[int], named: array[int], next_number: int
) -> array[int]:
    """Connections for entries that name none: for each host the first one that is free by then."""
    free: dict[int, list[tuple[int, int]]] = {}
    connections = array("q", named)
    for place in timeline.order.tolist():
        if connections[place] >= 0:
            continue
        start_ns = int(timeline.offsets[place])
        heap = free.setdefault(groups[place], [])
        if heap and heap[0][0] <= start_ns:
            _, number = heapq.heappop(heap)
        else:
            number, next_number = next_number, next_number + 1
        connections[place] = number
        heapq.heappush(heap, (start_ns + durations[place], number))
    return connections


def _connection_name(entry: dict[str, Any]) -> str | None:
    name = entry.get("connection")
    if isinstance(name, bool) or not isinstance(name, str | int) or name in {"", "0", 0}:
        return None
    return str(name)


def _host(entry: dict[str, Any]) -> str:
    request = entry.get("request")
    url = request.get("url") if isinstance(request, dict) else None
    return "/".join(url.split("/", 3)[:3]) if isinstance(url, str) else ""


def _entries(path: Path, tally: Tally | None = None) -> Iterator[Any]:
    with open_bytes(path, tally) as file:
        scanner = EntryScanner(file)
        yield from scanner.entries()
    if scanner.cut:
        raise CaptureError(f"{path.name} ends before its list log.entries begins; give an undamaged copy.")
    if not scanner.found:
        raise FileKindError(
            f"{path.name} is JSON without a list log.entries; give a HAR file as a browser exports it."
        )
