"""Bodies and messages by their kind: JSON, forms, events, multipart, text; the rest is blanked."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol

from anonymizer.detectors.base import Context, normal_key
from anonymizer.detectors.names import marks_a_person
from anonymizer.fields import Fields
from anonymizer.policy import Policy, Undecodable
from anonymizer.scrubber import Scrubber
from captures.bodies import coding, form, json, multipart, percent, sse
from captures.bodies.edits import Edit, splice
from captures.bodies.json import JsonLeaf
from captures.units import MIB

_CHARSET = re.compile(rb';\s*charset="?([A-Za-z0-9_.:-]{1,40})', re.IGNORECASE)
_FORM_SHAPE = re.compile(rb"[A-Za-z0-9_.\[\]%+-]{1,100}=[^\s<>\"{}]*")
_CUT_TAIL = re.compile(rb"[\w.@+%-]+\Z")
_MAX_PATH_NAMES = 16_384
_MIN_REMEMBERED_BYTES = 256  # a shorter body is scrubbed as fast as it is looked up
_MAX_REMEMBERED_BYTES = 32 * MIB
_ROW_BYTES = 200
_NAME_IN_PATH = re.compile(r"[A-Za-z_$@.][A-Za-z0-9_$@.:-]{0,63}")


class Tally(Protocol):
    """Told of what was replaced where, and of what could not be read."""

    def replaced(self, path: str, kind: str, count: int) -> None:
        """``count`` values of ``kind`` were replaced in the field at ``path``."""

    def replaced_again(self, counts: Counter[tuple[str, str]]) -> None:
        """Values were replaced as ``counts`` (by path and kind) says, which many bodies share."""

    def undecodable(self, path: str) -> None:
        """The body at ``path`` could not be read."""


class _Done(NamedTuple):
    """A body as it came out, and what is to be counted for it."""

    body: bytes
    replaced: Counter[tuple[str, str]]  # by path and kind
    undecodable: tuple[str, ...]


class BodyScrubber:
    """Anonymizes one body at a time; ``tally`` hears of each change, ``fields`` applies the rules."""

    def __init__(
        self, scrubber: Scrubber, policy: Policy, tally: Tally, fields: Fields | None = None
    ) -> None:
        self._scrubber = scrubber
        self._policy = policy
        self._tally = tally
        self._fields = fields
        self._path_names: dict[bytes, str] = {}
        self._seen: set[bytes] = set()
        self._done: dict[bytes, _Done] = {}
        self._done_bytes = 0
        self._replaced: Counter[tuple[str, str]] = Counter()
        self._undecodable: list[str] = []

    def body(
        self, body: bytes, *, content_type: bytes, content_encoding: bytes, path: str, cut: bool = False
    ) -> bytes:
        """``body`` (with its content coding) anonymized; ``cut`` says that its end is missing."""
        if not body or self._policy.keeps(path):
            return body
        quick = None if content_encoding else self._quick(body, content_type, path, cut=cut)
        if quick is not None:
            return quick

        def scrubbed() -> bytes:
            try:
                plain = coding.decode(body, content_encoding)
            except coding.CodingError:
                return self._blank(body, path)
            new = self._plain(plain, content_type, path, cut=cut)
            return body if new == plain else coding.encode(new, content_encoding)

        return self._once(body, (content_type, content_encoding, path.encode(), b"%d" % cut), scrubbed)

    def plain(self, data: bytes, *, content_type: bytes, path: str, cut: bool = False) -> bytes:
        """``data`` (without content coding) anonymized."""
        quick = self._quick(data, content_type, path, cut=cut)
        if quick is not None:
            return quick
        return self._once(
            data,
            (content_type, b"", path.encode(), b"%d" % cut),
            lambda: self._plain(data, content_type, path, cut=cut),
        )

    def _quick(self, data: bytes, content_type: bytes, path: str, *, cut: bool) -> bytes | None:
        """A whole JSON document anonymized, if it is one and no rule or path tells its fields apart."""
        if cut or self._fields is not None or self._policy.keep_paths or not json.looks_like_json(data):
            return None
        if content_type[:10].lower() == b"multipart/" or not _is_utf8(data):
            return None
        scrubbed = self._scrubber.document(data)
        if scrubbed is None:
            return None
        new, told = scrubbed
        if told is not None:
            self._tally.replaced_again(told.named(path, self._path_name))
        return new

    def _once(self, data: bytes, context: tuple[bytes, ...], scrubbed: Callable[[], bytes]) -> bytes:
        """``scrubbed()``, or its result from the time before: polls and retries repeat whole bodies."""
        if len(data) < _MIN_REMEMBERED_BYTES or self._fields is not None:
            new = scrubbed()  # rules differ by endpoint, and a watcher wants to see each field
            self._tell(self._replaced, self._undecodable)
            self._replaced, self._undecodable = Counter(), []
            return new
        key = blake2b(b"\0".join((*context, data)), digest_size=16).digest()
        if self._scrubber.collecting:
            if key not in self._seen:
                scrubbed()
                self._seen.add(key)
            return data
        done = self._done.get(key)
        if done is None:
            new = scrubbed()
            done = _Done(new, self._replaced, tuple(self._undecodable))
            self._replaced, self._undecodable = Counter(), []
            self._remember(key, done)
        self._tell(done.replaced, done.undecodable)
        return done.body

    def _remember(self, key: bytes, done: _Done) -> None:
        self._done_bytes += len(done.body) + _ROW_BYTES * len(done.replaced)
        if self._done_bytes > _MAX_REMEMBERED_BYTES:
            self._done.clear()
            self._done_bytes = len(done.body) + _ROW_BYTES * len(done.replaced)
        self._done[key] = done

    def _tell(self, replaced: Counter[tuple[str, str]], undecodable: Sequence[str]) -> None:
        for (path, kind), count in replaced.items():
            self._tally.replaced(path, kind, count)
        for path in undecodable:
            self._tally.undecodable(path)

    def _placed(self, path: str, text: bytes, edits: list[Edit]) -> list[Edit]:
        """``edits`` of the field ``path`` as the policy's rules have them, counted."""
        if self._fields is not None:
            edits = self._fields.field(path, text, edits)
        self._told(path, edits)
        return edits

    def _told(self, path: str, edits: list[Edit]) -> None:
        if not self._scrubber.collecting:
            for edit in edits:
                if edit.label:
                    self._replaced[path, edit.label] += 1

    def _plain(self, data: bytes, content_type: bytes, path: str, *, cut: bool) -> bytes:
        media_type = content_type.split(b";", 1)[0].strip().lower()
        if media_type.startswith(b"multipart/"):
            mark = multipart.boundary(content_type)
            if mark is not None and b"--" + mark in data:
                return self._multipart(data, mark, path, cut=cut)
        if _is_utf8(data, cut=cut):
            return self._apply(data, self._edits(data, media_type, path, cut=cut))
        charset = _charset(content_type)
        if charset is None:
            return self._blank(data, path)
        try:
            text = data.decode(charset).encode("utf-8")
            new = self._apply(text, self._edits(text, media_type, path, cut=cut))
            return data if new == text else new.decode("utf-8").encode(charset, "replace")
        except UnicodeError:
            return self._blank(data, path)

    def _apply(self, data: bytes, edits: list[Edit]) -> bytes:
        return data if self._scrubber.collecting or not edits else splice(data, edits)

    def _blank(self, data: bytes, path: str) -> bytes:
        if not self._scrubber.collecting:
            self._undecodable.append(path)
        return b"" if self._policy.undecodable is Undecodable.DROP else bytes(len(data))

    def _edits(self, data: bytes, media_type: bytes, path: str, *, cut: bool) -> list[Edit]:
        if media_type == b"text/event-stream":
            edits = self.events(data, path)
        elif b"json" in media_type or json.looks_like_json(data):
            edits = self.json(data, path)
        elif media_type == b"application/x-www-form-urlencoded" or _FORM_SHAPE.fullmatch(data):
            edits = self._form(data, 0, len(data), path)
        else:
            edits = self._placed(path, data, self._scrubber.text(data, Context()))
        tail = _CUT_TAIL.search(data) if cut else None
        if tail:  # what is left of a value that was cut is no longer recognisable, yet part of it
            edits = [edit for edit in edits if edit.stop <= tail.start()]
            edits.append(Edit(*tail.span(), b"x" * len(tail[0]), "cut"))
        return edits

    def json(self, data: bytes, path: str) -> list[Edit]:
        """The edits of JSON text at ``path``."""

        def kept(leaf: JsonLeaf) -> bool:
            names = (key.decode("utf-8", "replace") for key in (*leaf.path, leaf.key))
            return self._policy.keeps(".".join((path, *filter(None, names))))

        paths: dict[tuple[tuple[bytes, ...], bytes], str] = {}

        def path_of(leaf: JsonLeaf) -> str:
            where = (leaf.path, leaf.key)
            known = paths.get(where)
            if known is None:
                names = (self._path_name(key) for key in (*leaf.path, leaf.key))
                known = paths[where] = ".".join((path, *filter(None, names)))
            return known

        may_keep = kept if self._policy.keep_paths else None
        if self._fields is not None:
            edits = self._scrubber.json(data, kept=may_keep)
            return self._fields.json(data, edits, path_of, self._told)

        def told(leaf: JsonLeaf, edits: list[Edit]) -> None:
            self._told(path_of(leaf), edits)

        return self._scrubber.json(data, told=None if self._scrubber.collecting else told, kept=may_keep)

    def _path_name(self, key: bytes) -> str:
        """``key`` as part of a field path; a key that is a value itself shows as ``{key}``."""
        known = self._path_names.get(key)
        if known is None:
            known = key.decode("utf-8", "replace")
            if known and (not _NAME_IN_PATH.fullmatch(known) or self._scrubber.text(key, Context())):
                known = "{key}"
            if len(self._path_names) < _MAX_PATH_NAMES:
                self._path_names[key] = known
        return known

    def query(self, target: bytes, start: int, stop: int, path: str, *, count: bool) -> list[Edit]:
        """The edits of a target's ``name=value`` pairs; ``count`` says whether the tally hears of them."""
        edits = self._form(target, start, stop, path)
        replaced, self._replaced = self._replaced, Counter()
        if count:
            self._tell(replaced, ())
        return edits

    def _form(self, data: bytes, start: int, stop: int, path: str) -> list[Edit]:
        pairs = list(form.pairs(data, start, stop))
        names = [percent.unescape(data[p.name_start : p.name_stop], form=True).text for p in pairs]
        person = any(marks_a_person(name) for name in names)
        edits: list[Edit] = []
        for pair, name in zip(pairs, names, strict=True):
            if self._policy.keeps(f"{path}.{name.decode('utf-8', 'replace')}"):
                continue
            context = Context(key=normal_key(name), person=person)
            pair_path = f"{path}.{self._path_name(name)}"
            found = self._escaped(data, pair.name_start, pair.name_stop, Context())
            found += self._escaped(data, pair.value_start, pair.value_stop, context, pair_path)
            if found:
                self._told(pair_path, found)
                edits += found
        return edits

    def _escaped(
        self, data: bytes, start: int, stop: int, context: Context, path: str | None = None
    ) -> list[Edit]:
        if stop <= start:
            return []
        unescaped = percent.unescape(data[start:stop], form=True)

        def escape(new: bytes, raw: bytes) -> bytes:
            return percent.escape(new, raw=raw, form=b"%20" not in raw)

        found = self._scrubber.text(unescaped.text, context)
        if path is not None and self._fields is not None:
            found = self._fields.field(path, unescaped.text, found)
        return [edit.moved(start) for edit in unescaped.raw_edits(found, escape)]

    def events(self, data: bytes, path: str) -> list[Edit]:
        """The edits of server-sent events."""
        edits: list[Edit] = []
        for line in sse.lines(data):
            content = data[line.start : line.stop]
            line_path = f"{path}.{line.field.decode('ascii') or 'comment'}"
            if line.field == b"data" and json.looks_like_json(content):
                found = self.json(content, line_path)
            elif self._policy.keeps(line_path):
                continue
            else:
                found = self._placed(line_path, content, self._scrubber.text(content, Context()))
            edits += [edit.moved(line.start) for edit in found]
        return edits

    def _multipart(self, data: bytes, mark: bytes, path: str, *, cut: bool) -> bytes:
        edits = self._outside(data, mark, path)
        for part in multipart.parts(data, mark):
            head = data[part.head_start : part.head_stop]
            content = data[part.start : part.stop]
            name = self._path_name(part.name) or "part"
            last = cut and part.stop == len(data)
            part_path = f"{path}.{name}"
            if self._policy.keeps(part_path):
                continue
            head_edits = self._scrubber.text(head, Context()) if _is_utf8(head) else []
            self._told(part_path, head_edits)
            edits += [edit.moved(part.head_start) for edit in head_edits]
            if _is_utf8(content) and not part.content_type:
                context = Context(key=normal_key(part.name))
                found = self._placed(part_path, content, self._scrubber.text(content, context))
                new = self._apply(content, found)
            else:
                new = self._plain(content, part.content_type, part_path, cut=last)
            if new != content:
                edits.append(Edit(part.start, part.stop, new))
        return self._apply(data, edits)

    def _outside(self, data: bytes, mark: bytes, path: str) -> list[Edit]:
        """The edits of what stands before the first and after the last boundary."""
        edits: list[Edit] = []
        closing = data.rfind(b"--" + mark + b"--")
        after = len(data) if closing < 0 else closing + len(mark) + 4
        for start, stop in ((0, data.find(b"--" + mark)), (after, len(data))):
            text = data[start:stop]
            new = self._plain(text, b"", path, cut=False) if text.strip() else text
            if new != text:
                edits.append(Edit(start, stop, new))
        return edits


def _is_utf8(data: bytes, *, cut: bool = False) -> bool:
    if b"\x00" in data:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final=not cut)
    except UnicodeDecodeError:
        return False
    return True


def _charset(content_type: bytes) -> str | None:
    match = _CHARSET.search(content_type)
    if match is None:
        return None
    try:
        info = codecs.lookup(match[1].decode("ascii"))
    except LookupError:
        return None
    return None if info.name == "utf-8" or not info._is_text_encoding else info.name  # noqa: SLF001
