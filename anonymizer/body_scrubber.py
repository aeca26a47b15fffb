"""Bodies and messages by what they are found to hold, whatever their type says; the rest is blanked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b

from anonymizer import charsets, documents, layers
from anonymizer.binaries import rebuilt_protobuf, texts_in
from anonymizer.containers import Containers
from anonymizer.detectors.base import Context, normal_key
from anonymizer.detectors.names import marks_a_person
from anonymizer.documents import Piece
from anonymizer.fields import Fields
from anonymizer.packings import has_notes
from anonymizer.policy import Policy, Undecodable
from anonymizer.scrubber import Scrubber
from anonymizer.tally import Done, Remembered, Tally
from captures.bodies import coding, form, graphql, json, lines, markup, multipart, percent, protobuf, sse
from captures.bodies.edits import Edit, splice, without_overlaps
from captures.bodies.json import JsonLeaf, LeafRole
from captures.bodies.sse import SseLine

_FORM_SHAPE = re.compile(rb"[A-Za-z0-9_.\[\]%+-]{1,100}=[^\s<>\"{}]*\s*")
_MARKUP_TYPE = re.compile(rb"[/+](?:xml|html|xhtml|svg)\b")
_CUT_TAIL = re.compile(rb"[0-9 ()./:-]*[0-9]\+?|[\w.@+%:=-]+")  # the last word or number, read from the end
_MAX_CUT_BYTES = 4_096
_PLUS_NUMBER = re.compile(rb"\+[1-9][0-9 ().-]{6,}")  # of a sender that does not escape: no space
_MAX_PACKED = 4  # gzip in gzip, and so on
_BOM = b"\xef\xbb\xbf"
_MAX_PATH_NAMES = 16_384
_MAX_SEEN = 65_536
_MIN_REMEMBERED_BYTES = 256  # a shorter body is scrubbed as fast as it is looked up
_NAME_IN_PATH = re.compile(r"(?!.*[0-9]{5})[A-Za-z_$@.][A-Za-z0-9_$@.:-]{0,63}")


class BodyScrubber:
    """Anonymizes one body at a time; ``tally`` hears of each change, ``fields`` applies the rules."""

    def __init__(
        self, scrubber: Scrubber, policy: Policy, tally: Tally, fields: Fields | None = None
    ) -> None:
        self._scrubber = scrubber
        self._policy = policy
        self._tally = tally
        self._fields = fields
        self._containers = Containers(self, self.boundary)
        self._path_names: dict[bytes, str] = {}
        self._seen: set[bytes] = set()
        self._done = Remembered()
        self._replaced: Counter[tuple[str, str]] = Counter()
        self._undecodable: list[str] = []
        self._counting = False

    def body(
        self,
        body: bytes,
        *,
        content_type: bytes,
        content_encoding: bytes,
        message_coding: bytes = b"",
        path: str,
        cut: bool = False,
    ) -> bytes:
        """
        ``body`` (with its content coding) anonymized; ``cut`` says that its end is missing.

        ``message_coding`` is that of single messages in it, as gRPC has them.
        """
        if not body or self._policy.keeps(path):
            return body
        quick = None if content_encoding else self._quick(body, content_type, path, cut=cut)
        if quick is not None:
            return quick

        def scrubbed() -> bytes:
            try:
                plain = coding.decode(body, content_encoding)
            except coding.CodingError:
                return self.blank(body, path)
            new = self._containers.binary(plain, _media_type(content_type), message_coding, path)
            if new is None:
                new = self.content(plain, content_type, path, cut=cut)
            return body if new == plain and not has_notes(body) else coding.encode(new, content_encoding)

        facts = (content_type, content_encoding, message_coding, path.encode(), b"%d" % cut)
        return self._once(body, facts, scrubbed)

    def plain(self, data: bytes, *, content_type: bytes, path: str, cut: bool = False) -> bytes:
        """``data`` (without content coding) anonymized."""
        quick = self._quick(data, content_type, path, cut=cut)
        if quick is not None:
            return quick
        facts = (content_type, b"", path.encode(), b"%d" % cut)
        return self._once(data, facts, lambda: self.content(data, content_type, path, cut=cut))

    def _quick(self, data: bytes, content_type: bytes, path: str, *, cut: bool) -> bytes | None:
        """A whole JSON document anonymized, if it is one and no rule or path tells its fields apart."""
        if cut or self._fields is not None or self._policy.keep_paths or not json.looks_like_json(data):
            return None
        if not _is_read_as_utf8(content_type):
            return None
        scrubbed = self._scrubber.document(data)
        if scrubbed is None:
            return None
        new, told = scrubbed
        if told is not None:
            self._tally.replaced_again(told.named(path, self.path_name))
        return new

    def message(self, data: bytes, path: str) -> bytes:
        """``data`` of no stated type, as metadata of gRPC hold it: text or a message, else it is blanked."""

        def scrubbed() -> bytes:
            if protobuf.looks_like_message(data):
                return self._containers.rebuilt(data, rebuilt_protobuf, path)
            return self.content(data, b"", path)

        return self._once(data, (b"metadata", path.encode()), scrubbed)

    def _once(self, data: bytes, context: tuple[bytes, ...], scrubbed: Callable[[], bytes]) -> bytes:
        """``scrubbed()``, or its result from the time before: polls and retries repeat whole bodies."""
        if len(data) < _MIN_REMEMBERED_BYTES or self._fields is not None:
            # rules differ by endpoint, and a watcher wants to see each field
            return self._told_of(self._counted(scrubbed))
        key = blake2b(b"\0".join((*context, data)), digest_size=16).digest()
        if self._scrubber.collecting:
            if key not in self._seen:
                scrubbed()
                if len(self._seen) >= _MAX_SEEN:
                    self._seen.clear()
                self._seen.add(key)
            return data
        known = self._done.get(key)
        if known is None:
            known = self._counted(scrubbed)
            self._done.put(key, known)
        return self._told_of(known)

    def _counted(self, scrubbed: Callable[[], bytes]) -> Done:
        """``scrubbed()`` with what was counted meanwhile."""
        self._replaced, self._undecodable = Counter(), []
        self._counting = True
        try:
            new = scrubbed()
        finally:
            self._counting = False
        return Done(new, self._replaced, tuple(self._undecodable))

    def _told_of(self, done: Done) -> bytes:
        for (path, kind), count in done.replaced.items():
            self._tally.replaced(path, kind, count)
        for path in done.undecodable:
            self._tally.undecodable(path)
        return done.body

    def leaf(self, path: str, text: bytes, context: Context) -> list[Edit]:
        """The edits of one text in the field ``path``, counted."""
        return self._placed(path, text, self._scrubber.text(text, context), number=context.number)

    def key(self, path: str, text: bytes) -> list[Edit]:
        """The edits of the name of the field at ``path``, counted."""
        edits = self._scrubber.leaf(LeafRole.KEY, text, b"", b"", person=False) if b"\\" not in text else []
        self._told(path, edits)
        return edits

    def keeps(self, path: str) -> bool:
        """Whether the field at ``path`` is left as it is."""
        return self._policy.keeps(path)

    def _placed(self, path: str, text: bytes, edits: list[Edit], *, number: bool = False) -> list[Edit]:
        """``edits`` of the field ``path`` as the policy's rules have them, counted."""
        if self._fields is not None:
            edits = self._fields.field(path, text, edits, number=number)
        self._told(path, edits)
        return edits

    def _told(self, path: str, edits: list[Edit]) -> None:
        if not self._scrubber.collecting:
            for edit in edits:
                if edit.label:
                    self._replaced[path, edit.label] += 1

    def content(
        self, data: bytes, content_type: bytes, path: str, *, cut: bool = False, depth: int = 0
    ) -> bytes:
        """``data`` (without content coding) anonymized, whatever holds it."""
        media_type = _media_type(content_type)
        if media_type.startswith(b"multipart/"):
            mark = multipart.boundary(content_type)
            if mark is not None and b"--" + mark in data:
                return self._containers.parts(data, mark, path, cut=cut)
        charset = charsets.of(data, content_type, cut=cut)
        if charset == "utf-8":
            return self.apply(data, self._edits(data, media_type, path, cut=cut))
        if charset is not None:
            try:
                text = data.decode(charset).encode("utf-8")
                new = self.apply(text, self._edits(text, media_type, path, cut=cut))
                return data if new == text else new.decode("utf-8").encode(charset, "replace")
            except UnicodeError:
                return self.blank(data, path)
        rebuild = texts_in(data)
        if rebuild is not None:
            return self._containers.rebuilt(data, rebuild, path)
        packed = coding.named_by_magic(data) if depth < _MAX_PACKED else b""
        if packed:
            try:
                plain = coding.decode(data, packed)
            except coding.CodingError:
                return self.blank(data, path)
            new = self.content(plain, content_type, path, cut=cut, depth=depth + 1)
            return data if new == plain and not has_notes(data) else coding.encode(new, packed)
        return self.blank(data, path)

    def apply(self, data: bytes, edits: list[Edit]) -> bytes:
        """``data`` with ``edits`` made; as it is while values are collected."""
        return data if self._scrubber.collecting or not edits else splice(data, edits)

    def blank(self, data: bytes, path: str) -> bytes:
        """What stands for ``data``, which cannot be read, by the policy; it is counted."""
        note = self._undecodable.append if self._counting else self._tally.undecodable  # as in a header
        note(path)
        return b"" if self._policy.undecodable is Undecodable.DROP else bytes(len(data))

    def boundary(self, mark: bytes) -> bytes:
        """``mark`` of a multipart body without the values that stand in it."""
        return self.apply(mark, self._scrubber.text(mark, Context()))

    def _edits(self, data: bytes, media_type: bytes, path: str, *, cut: bool) -> list[Edit]:
        if data.startswith(_BOM):
            return [edit.moved(3) for edit in self._edits(data[3:], media_type, path, cut=cut)]
        is_json = json.looks_like_json(data)
        if media_type == b"text/event-stream":
            edits = self.events(data, path)
        elif media_type == b"application/graphql" or graphql.looks_like_graphql(data):
            edits = self._pieces(documents.graphql_pieces(data), path)
        elif is_json or (b"json" in media_type and not _FORM_SHAPE.fullmatch(data)):
            edits = self.json(data, path)
            for layer in layers.number_lists(data) if json.BUFFER in data else ():
                edits += layer.back(self.leaf(path, layer.text, layer.context))
            whole = documents.is_all_json(data)
            if not whole or data.rstrip()[-1:].isdigit():  # comments, other quotes, a text after it
                edits += self._placed(path, data, self._lines(data))
            edits = without_overlaps(edits)
            cut = cut or not (whole or documents.ends_strings(data))
        elif _MARKUP_TYPE.search(media_type) or markup.looks_like_markup(data):
            edits = self._pieces(documents.markup_pieces(data), path)
        elif media_type == b"application/x-www-form-urlencoded" or _FORM_SHAPE.fullmatch(data):
            edits = self._form(data, 0, len(data.rstrip()), path)
        else:
            edits = self._placed(path, data, self._lines(data))
        return _without_tail(data, edits) if cut else edits

    def _pieces(self, pieces: Iterable[Piece], path: str) -> list[Edit]:
        edits: list[Edit] = []
        for piece in pieces:
            piece_path = ".".join((path, *filter(None, map(self.path_name, piece.names))))
            if piece.text and not (piece.names and self._policy.keeps(piece_path)):
                edits += piece.back(self.leaf(piece_path, piece.text, piece.context))
        return edits

    def _lines(self, data: bytes) -> list[Edit]:
        """The edits of plain text, whose lines may have fields."""
        edits = list(self._scrubber.text(data, Context()))
        found = lines.fields(data)
        people = {field.line for field in found if marks_a_person(field.key)}
        for key, start, stop, line in found:
            text, context = data[start:stop], Context(key=normal_key(key), person=line in people)
            edits += [edit.moved(start) for edit in self._scrubber.text(text, context)]
        for start, stop in lines.json_spans(data):
            edits += [edit.moved(start) for edit in self._scrubber.json(data[start:stop])]
        return without_overlaps(edits)

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
                names = filter(None, map(self.path_name, (*leaf.path, leaf.key)))
                known = paths[where] = ".".join((path, *names))
            return known

        may_keep = kept if self._policy.keep_paths else None
        if self._fields is not None:
            edits = self._scrubber.json(data, kept=may_keep)
            return self._fields.json(data, edits, path_of, self._told)

        def told(leaf: JsonLeaf, edits: list[Edit]) -> None:
            self._told(path_of(leaf), edits)

        return self._scrubber.json(data, told=None if self._scrubber.collecting else told, kept=may_keep)

    def path_name(self, key: bytes) -> str:
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
            self._told_of(Done(b"", replaced, ()))
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
            pair_path = f"{path}.{self.path_name(name)}"
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
        spaced = not _PLUS_NUMBER.fullmatch(data, start, stop)
        unescaped = percent.unescape(data[start:stop], form=spaced)

        def escape(new: bytes, raw: bytes) -> bytes:
            written = percent.escape(new, raw=raw, form=spaced and b"%20" not in raw)
            return written if spaced else written.replace(b"%2B", b"+")

        found = self._scrubber.text(unescaped.text, context)
        if path is not None and self._fields is not None:
            found = self._fields.field(path, unescaped.text, found)
        return [edit.moved(start) for edit in unescaped.raw_edits(found, escape)]

    def events(self, data: bytes, path: str) -> list[Edit]:
        """The edits of server-sent events."""
        edits: list[Edit] = []
        for event in sse.events(data):
            for line in event:
                line_path = f"{path}.{line.field.decode('ascii') or 'comment'}"
                if line.field != b"data" and not self._policy.keeps(line_path):
                    found = self.leaf(line_path, data[line.start : line.stop], Context())
                    edits += [edit.moved(line.start) for edit in found]
            edits += self._event_data(data, [line for line in event if line.field == b"data"], f"{path}.data")
        return edits

    def _event_data(self, data: bytes, of: list[SseLine], path: str) -> list[Edit]:
        """The edits of the data of one event: JSON may go over several lines."""
        whole = b"\n".join(data[line.start : line.stop] for line in of)
        if json.looks_like_json(whole):
            return sse.placed(of, self.json(whole, path))
        edits: list[Edit] = []
        for line in of if not self._policy.keeps(path) else ():
            text = data[line.start : line.stop]
            edits += [edit.moved(line.start) for edit in self._placed(path, text, self._lines(text))]
        return edits


def _without_tail(data: bytes, edits: list[Edit]) -> list[Edit]:
    """``edits`` and that of the last word: what is left of a value that was cut is not recognisable."""
    tail = _CUT_TAIL.match(data[: -_MAX_CUT_BYTES - 1 : -1])
    if tail is None:
        return edits
    word = len(data) - tail.end()
    start = min([word, *(edit.start for edit in edits if edit.stop > word)])  # a value goes whole
    kept = [edit for edit in edits if edit.stop <= start]
    return [*kept, Edit(start, len(data), b"x" * (len(data) - start), "cut")]


@lru_cache(maxsize=1_024)
def _is_read_as_utf8(content_type: bytes) -> bool:
    """Whether a body of this type is read as UTF-8 if it is such, whatever charset is stated."""
    return content_type[:10].lower() != b"multipart/" and charsets.of(b"", content_type) == "utf-8"


def _media_type(content_type: bytes) -> bytes:
    return content_type.split(b";", 1)[0].strip().lower()
