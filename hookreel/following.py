"""``hookreel cat --follow``: a capture while it is being recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from captures.endpoints import shape_label
from captures.errors import HookreelError
from captures.follow import Follower
from captures.lineage import recording_of
from captures.model import CaptureHeader, Exchange, Message, MessageKind, Response
from captures.reader import CaptureReader
from hookreel.show import Show, exchange_lines, exchange_record, message_line, message_record

_PART = re.compile(r"(?P<name>.*-)(?P<number>\d{4,})", re.DOTALL)  # staging-0001, as a recorder names parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What is printed of what comes; offsets in ns, endpoints by the shape of their paths."""

    start_ns: int | None = None
    stop_ns: int | None = None
    endpoints: Collection[str] = ()
    limit: int | None = None
    as_json: bool = False
    show: Show


def follow(
    path: Path, chosen: Following, wait: Callable[[], None], note: Callable[[str], None]
) -> Iterator[str]:
    """
    Lines as they come, until the recording ends or the limit is reached; ``note`` takes what is missing.

    A recording in parts is followed into the part after ``path``, and so on.

    Raises:
        UsageError: the file cannot be read.
        CaptureError: it is no capture, or is damaged.

    """
    printed = 0
    streams: set[int] = set()
    with closing(_parts(path, wait, note)) as parts:
        for follower in parts:
            for item in follower.items(wait):
                if isinstance(item, Message):
                    yield from _message(item, chosen, streams)
                elif _wanted(item, chosen):
                    yield from _exchange(item, chosen)
                    printed += 1
                    if isinstance(item.outcome, Response) and item.outcome.stream:
                        streams.add(item.seq)
                if chosen.limit is not None and printed >= chosen.limit:
                    return
            for problem in follower.problems:
                note(problem)


def _parts(
    path: Path, wait: Callable[[], None], note: Callable[[str], None]
) -> Generator[Follower, None, None]:
    """
    The file and the parts after it, each to be read to its end before the next one is asked for.

    Between two parts there may be none: the next one begins with the next exchange. It is waited for
    when the part before ended while it was followed, and did not say that the recording ended.
    """
    following: Path | None = path
    while following is not None:
        path = following
        with Follower.open(path) as follower:
            yield follower
            following = _next_part(path, follower.header)
            if following is None and follower.was_live and _is_part(path) and not follower.ends_recording:
                note(f"{path.name} ended; waiting for the next part of the recording (Ctrl-C to stop).")
                while following is None:
                    wait()
                    following = _next_part(path, follower.header)


def _is_part(path: Path) -> bool:
    return _PART.fullmatch(path.stem) is not None


def _next_part(path: Path, header: CaptureHeader | None) -> Path | None:
    """The part of the same recording with the next number that there is."""
    match = _PART.fullmatch(path.stem)
    if match is None or header is None:
        return None
    later = []
    for other in path.parent.glob(f"{escape(match['name'])}*{escape(path.suffix)}"):
        found = _PART.fullmatch(other.stem)
        if (
            found is not None
            and found["name"] == match["name"]
            and int(found["number"]) > int(match["number"])
        ):
            later.append((int(found["number"]), other))
    for _, other in sorted(later):
        try:
            with CaptureReader.open(other) as reader:
                if recording_of(reader.header) == recording_of(header):
                    return other
        except HookreelError:
            continue  # not begun yet, or another file
    return None


def _wanted(exchange: Exchange, chosen: Following) -> bool:
    if chosen.start_ns is not None and exchange.offset_ns < chosen.start_ns:
        return False
    if chosen.stop_ns is not None and exchange.offset_ns >= chosen.stop_ns:
        return False
    request = exchange.request
    return not chosen.endpoints or shape_label(request.method, request.target) in chosen.endpoints


def _exchange(exchange: Exchange, chosen: Following) -> Iterator[str]:
    if chosen.as_json:
        yield json.dumps(exchange_record(exchange, chosen.show))
    else:
        yield from exchange_lines(exchange, (), chosen.show)


def _message(message: Message, chosen: Following, streams: set[int]) -> Iterator[str]:
    if message.exchange not in streams:
        return
    if message.kind is MessageKind.END:
        streams.discard(message.exchange)
    if chosen.as_json:
        yield json.dumps({"message_of": message.exchange, **message_record(message, chosen.show)})
    else:
        yield message_line(message, chosen.show, number=f"#{message.exchange} ")
