"""Bodies that hold other bodies: multipart, gRPC and Connect, MessagePack and Protocol Buffers."""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Callable
from typing import Protocol

from anonymizer.binaries import BROKEN, Rebuild, Value, rebuilt_msgpack, rebuilt_protobuf
from anonymizer.detectors.base import Context, normal_key
from captures.bodies import coding, multipart
from captures.bodies.edits import Edit, splice
from captures.bodies.envelopes import (
    COMPRESSED,
    CONNECT_END,
    GRPC_WEB_TRAILERS,
    Envelope,
    enveloped,
    envelopes,
)
from captures.bodies.multipart import Part

_PROTOBUF_TYPES = frozenset(
    {
        b"application/protobuf", b"application/x-protobuf", b"application/proto",
        b"application/x-google-protobuf", b"application/vnd.google.protobuf",
    }
)  # fmt: skip
_MSGPACK_TYPES = frozenset({b"application/msgpack", b"application/x-msgpack", b"application/vnd.msgpack"})
_ENVELOPED = re.compile(rb"application/(grpc|grpc-web|grpc-web-text|connect)(?:\+([a-z]+))?")
_TRANSFER_CODING = re.compile(rb"(?:^|\n)content-transfer-encoding:[ \t]*([^\s;]+)", re.IGNORECASE)
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_SPACE = re.compile(rb"\s+")


class Inside(Protocol):
    """What a container needs for the contents it holds."""

    def content(self, data: bytes, content_type: bytes, path: str, *, cut: bool = False) -> bytes:
        """A whole body anonymized."""

    def leaf(self, path: str, text: bytes, context: Context) -> list[Edit]:
        """The edits of one text at ``path``, counted."""

    def key(self, path: str, text: bytes) -> list[Edit]:
        """The edits of the name of the field at ``path``, counted."""

    def apply(self, data: bytes, edits: list[Edit]) -> bytes:
        """``data`` with ``edits`` made."""

    def blank(self, data: bytes, path: str) -> bytes:
        """What stands for bytes that cannot be read, counted."""

    def path_name(self, key: bytes) -> str:
        """``key`` as part of a field path."""

    def keeps(self, path: str) -> bool:
        """Whether the field at ``path`` is left as it is."""


class Containers:
    """Anonymizes what is inside of containers, and makes lengths and boundaries fit again."""

    def __init__(self, inside: Inside, rename: Callable[[bytes], bytes]) -> None:
        self._inside = inside
        self._rename = rename

    def binary(self, data: bytes, media_type: bytes, message_coding: bytes, path: str) -> bytes | None:
        """``data`` of a type that is a binary container; None when ``media_type`` is none."""
        match = _ENVELOPED.fullmatch(media_type)
        if match:
            return self._enveloped(data, match[1], match[2] or b"proto", message_coding, path)
        if media_type in _PROTOBUF_TYPES or media_type.endswith((b"+proto", b"+protobuf")):
            return self.rebuilt(data, rebuilt_protobuf, path)
        if media_type in _MSGPACK_TYPES or media_type.endswith(b"+msgpack"):
            return self.rebuilt(data, rebuilt_msgpack, path)
        return None

    def rebuilt(self, data: bytes, rebuild: Rebuild, path: str) -> bytes:
        """A binary document with its texts anonymized and its unreadable values blanked."""

        def visit(value: Value) -> bytes:
            where = ".".join((path, *map(self._inside.path_name, value.names)))
            if self._inside.keeps(where):
                return value.data
            if value.is_key:
                return self._inside.apply(value.data, self._inside.key(where, value.data))
            if value.context.number or is_utf8(value.data):
                return self._inside.apply(value.data, self._inside.leaf(where, value.data, value.context))
            return self._inside.content(value.data, b"", where)

        try:
            return rebuild(data, visit)
        except BROKEN:
            return self._inside.blank(data, path)

    def _enveloped(
        self, data: bytes, protocol: bytes, subtype: bytes, message_coding: bytes, path: str
    ) -> bytes:
        if protocol == b"grpc-web-text":
            return self._in_base64(data, subtype, message_coding, path)
        found = envelopes(data)
        if found is None:
            return self._inside.blank(data, path)
        parts = []
        for one in found:
            message = data[one.start : one.stop]
            new = self._message(one, message, protocol, subtype, message_coding, path)
            parts.append(enveloped(one.flags, new))
        return b"".join(parts)

    def _in_base64(self, data: bytes, subtype: bytes, message_coding: bytes, path: str) -> bytes:
        """Messages of gRPC-Web in base64, which a sender may have padded one by one."""
        written = _BASE64_RUN.findall(data)
        try:
            raw = [base64.b64decode(run) for run in written]
        except binascii.Error:
            return self._inside.blank(data, path)
        if not all(map(envelopes, raw)):
            written, raw = [data], [b"".join(raw)]
        parts = []
        for text, old in zip(written, raw, strict=True):
            new = self._enveloped(old, b"grpc-web", subtype, message_coding, path)
            parts.append(text if new == old else base64.b64encode(new))
        return b"".join(parts)

    def _message(
        self, one: Envelope, message: bytes, protocol: bytes, subtype: bytes, message_coding: bytes, path: str
    ) -> bytes:
        if not message:
            return message
        if one.flags & COMPRESSED:
            try:
                plain = coding.decode(message, message_coding)
            except coding.CodingError:
                return self._inside.blank(message, path)
            rest = Envelope(one.flags & ~COMPRESSED, 0, len(plain))
            new = self._message(rest, plain, protocol, subtype, b"", path)
            return message if new == plain else coding.encode(new, message_coding)
        if one.flags & GRPC_WEB_TRAILERS and protocol != b"connect":
            return self._inside.content(message, b"text/plain", f"{path}.trailer")
        if subtype == b"json" or (one.flags & CONNECT_END and protocol == b"connect"):
            return self._inside.content(message, b"application/json", path)
        if subtype == b"proto":
            return self.rebuilt(message, rebuilt_protobuf, path)
        return self._inside.content(message, b"application/" + subtype, path)

    def parts(self, data: bytes, mark: bytes, path: str, *, cut: bool) -> bytes:
        """A multipart body with its parts and their heads anonymized; its boundary is ``mark``."""
        edits = self._outside(data, mark, path)
        for part in multipart.parts(data, mark):
            head = data[part.head_start : part.head_stop]
            content = data[part.start : part.stop]
            part_path = f"{path}.{self._inside.path_name(part.name) or 'part'}"
            if self._inside.keeps(part_path):
                continue
            new_head = self._head(head, part_path)
            if new_head != head:
                edits.append(Edit(part.head_start, part.head_stop, new_head))
            new = self._part(head, content, part, part_path, cut=cut and part.stop == len(data))
            if new != content:
                edits.append(Edit(part.start, part.stop, new))
        made = self._inside.apply(data, edits)
        if len(list(multipart.delimiters(made, mark))) != len(list(multipart.delimiters(data, mark))):
            return self._inside.blank(data, path)  # a boundary within a new value would move the parts
        new_mark = self._rename(mark)
        if new_mark == mark:
            return made
        return splice(made, [Edit(start, stop, new_mark) for start, stop in multipart.delimiters(made, mark)])

    def _head(self, head: bytes, path: str) -> bytes:
        if not is_utf8(head):
            return self._inside.blank(head, path)
        kind = multipart.content_type_span(head)
        own_mark = multipart.boundary(head[slice(*kind)]) if kind else None
        edits = self._inside.leaf(path, head, Context())
        if own_mark and kind:  # of a multipart in this one: renamed as it is in its body
            at = head.find(own_mark, kind[0])
            edits = [edit for edit in edits if edit.stop <= at or edit.start >= at + len(own_mark)]
            edits.append(Edit(at, at + len(own_mark), self._rename(own_mark)))
        return self._inside.apply(head, edits)

    def _part(self, head: bytes, content: bytes, part: Part, path: str, *, cut: bool) -> bytes:
        transfer = _TRANSFER_CODING.search(head)
        name = transfer[1].lower() if transfer else b""
        if name == b"base64":
            return self._base64(content, part, path, cut=cut)
        if name == b"quoted-printable":
            plain = quopri.decodestring(content)
            new = self._content(plain, part, path, cut=cut)
            return content if new == plain else quopri.encodestring(new).replace(b"\n", b"\r\n")
        return self._content(content, part, path, cut=cut)

    def _base64(self, content: bytes, part: Part, path: str, *, cut: bool) -> bytes:
        try:
            plain = base64.b64decode(_SPACE.sub(b"", content), validate=True)
        except binascii.Error:
            return self._inside.blank(content, path)
        new = self._content(plain, part, path, cut=cut)
        if new == plain:
            return content
        written = base64.b64encode(new)
        lines = content.split(b"\n")
        wide = len(lines[0].rstrip(b"\r"))
        if len(lines) < 2 or not wide:
            return written
        end = b"\r\n" if lines[0].endswith(b"\r") else b"\n"
        return end.join(written[at : at + wide] for at in range(0, len(written), wide))

    def _content(self, content: bytes, part: Part, path: str, *, cut: bool) -> bytes:
        if is_utf8(content) and not part.content_type:
            context = Context(key=normal_key(part.name))
            return self._inside.apply(content, self._inside.leaf(path, content, context))
        return self._inside.content(content, part.content_type, path, cut=cut)

    def _outside(self, data: bytes, mark: bytes, path: str) -> list[Edit]:
        """The edits of what stands before the first and after the last boundary."""
        edits: list[Edit] = []
        closing = data.rfind(b"--" + mark + b"--")
        after = len(data) if closing < 0 else closing + len(mark) + 4
        for start, stop in ((0, data.find(b"--" + mark)), (after, len(data))):
            text = data[start:stop]
            new = self._inside.content(text, b"", path) if text.strip() else text
            if new != text:
                edits.append(Edit(start, stop, new))
        return edits


def is_utf8(data: bytes) -> bool:
    """Whether ``data`` is text in UTF-8: no zero byte, nothing cut."""
    if b"\x00" in data:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
