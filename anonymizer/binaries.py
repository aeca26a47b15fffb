"""Binary documents, rebuilt value by value: MessagePack, and Protocol Buffers without a schema."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import NamedTuple

from anonymizer.detectors.base import Context, normal_key
from anonymizer.detectors.names import marks_a_person
from captures.bodies import msgpack, protobuf
from captures.bodies.msgpack import MsgpackError, MsgpackRole
from captures.bodies.protobuf import ProtobufError, Wire

Names = tuple[bytes, ...]


class Value(NamedTuple):
    """
    One value of a binary document: a text, a number as its decimal digits, or bytes that are neither.

    ``names`` are those of the fields it is in; ``is_key`` says that it is a field's name itself.
    """

    data: bytes
    context: Context
    names: Names
    is_key: bool = False


Visit = Callable[[Value], bytes]
"""A value to what stands for it."""

Rebuild = Callable[[bytes, Visit], bytes]
"""A document with each value replaced by what ``Visit`` makes of it."""

_MAX_DEPTH = 60
_TEXT = re.compile(rb"[\t\n\r -~]+")
_RUN = re.compile(rb"[\t\n\r -~]{6,}")
_TAIL = re.compile(rb"[\t\n\r -~]{6,}\Z")


def rebuilt_msgpack(data: bytes, visit: Visit) -> bytes:
    """
    ``data`` with other strings, binaries, numbers and times; what stays has its bytes.

    Raises:
        MsgpackError: ``data`` is no MessagePack.

    """
    leaves = msgpack.scan(data)
    keys = [leaf for leaf in leaves if leaf.role is MsgpackRole.KEY]
    people = {leaf.holder for leaf in keys if marks_a_person(data[leaf.start : leaf.stop])}
    end = max((leaf.stop for leaf in leaves if leaf.role is not MsgpackRole.SMALL), default=0)
    parts: list[bytes] = []
    position = 0
    for leaf in leaves:
        number = leaf.role in msgpack.NUMBERS
        names = tuple(filter(None, (*leaf.path, leaf.key)))
        if leaf.role is MsgpackRole.SMALL and not names:
            continue
        context = Context(
            key="timestamp" if leaf.role is MsgpackRole.TIMESTAMP else normal_key(leaf.key),
            parent=normal_key(leaf.path[-1]) if leaf.path else "",
            person=leaf.holder in people,
            number=number,
        )
        old = msgpack.number(data, leaf) if number else data[leaf.start : leaf.stop]
        new = visit(Value(old, context, names, leaf.role is MsgpackRole.KEY))
        if new != old:
            write = msgpack.with_number if number else msgpack.with_content
            parts += [data[position : leaf.head], write(data, leaf, new)]
            position = leaf.stop
    tail = _TAIL.search(data, max(position, end))
    if tail is not None:  # each letter is a small number in this format
        parts += [data[position : tail.start()], visit(Value(tail[0], Context(), ()))]
        position = tail.end()
    return b"".join((*parts, data[position:]))


def rebuilt_protobuf(data: bytes, visit: Visit, names: Names = ()) -> bytes:
    """
    The message ``data`` with other texts, bytes and numbers, and lengths that fit, up to the outermost.

    Raises:
        ProtobufError: ``data`` is no message.

    """
    parts: list[bytes] = []
    position = 0
    for field in protobuf.fields(data):
        content = data[field.start : field.stop]
        inside = (*names, b"f%d" % field.number)
        if field.wire is Wire.VARINT:
            old = protobuf.varint(content, 0)[0]
            new = _number(visit(Value(b"%d" % old, Context(number=True), inside)), old)
            written = protobuf.to_varint(new) if new != old else content
            head = data[field.tag : field.start]
        elif field.wire in {Wire.FIXED32, Wire.FIXED64}:
            digits = protobuf.fixed(content)
            made = visit(Value(digits, Context(number=True), inside))
            written = protobuf.to_fixed(made, content) if made != digits else content
            head = data[field.tag : field.start]
        elif field.wire is Wire.BYTES and content:
            if len(inside) < _MAX_DEPTH and protobuf.looks_like_message(content):
                written = rebuilt_protobuf(content, visit, inside)
                if written == content and _TEXT.fullmatch(content):  # a text that may as well be a message
                    written = visit(Value(content, Context(), inside))
            else:
                written = visit(Value(content, Context(), inside))
            tag = data[field.tag : protobuf.varint(data, field.tag)[1]]
            head = tag + protobuf.to_varint(len(written))
        else:
            continue
        if written != content:
            parts += [data[position : field.tag], head, written]
            position = field.stop
    return b"".join((*parts, data[position:]))


def _number(digits: bytes, old: int) -> int:
    """The number that ``digits`` say; 0 where a policy left none."""
    if digits == b"%d" % old:
        return old
    return int(digits) % 2**64 if digits.isdigit() and len(digits) <= 20 else 0


def texts_in(data: bytes) -> Rebuild | None:
    """How to rebuild ``data`` where its bytes alone say what it is; None where they do not."""
    if msgpack.looks_like_msgpack(data):
        return _rebuilt_if_msgpack
    return None


def _rebuilt_if_msgpack(data: bytes, visit: Visit) -> bytes:
    """
    As `rebuilt_msgpack`, for bytes that nobody calls MessagePack: by chance others read as it, too.

    Raises:
        MsgpackError: a value goes over the end of a text, into what would be small numbers.

    """
    for torn, text in _torn_texts(data):
        if visit(Value(torn, Context(), ())) != visit(Value(text, Context(), ())) + torn[len(text) :]:
            raise MsgpackError("text among numbers")
    return rebuilt_msgpack(data, visit)


def _torn_texts(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Printable text with the small numbers that follow it and would be letters, and the text alone."""
    texts = [leaf for leaf in msgpack.scan(data) if leaf.role not in msgpack.NUMBERS]
    starts = [leaf.start for leaf in texts]
    for run in _RUN.finditer(data):
        # A run may begin in the length of a text, and only a text's end can be in the middle of one.
        at = bisect_left(starts, run.end()) - 1
        start, stop = (texts[at].start, texts[at].stop) if at >= 0 else (0, 0)
        start = run.start() if stop <= run.start() else max(run.start(), start)
        if run.end() > stop:
            yield data[start : run.end()], data[start : max(start, stop)]


BROKEN = (MsgpackError, ProtobufError)
"""What a rebuild raises when the bytes are something else."""
