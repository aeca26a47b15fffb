"""
What was replaced: the smallest parts of a value that differ from their counterpart.

Two values are aligned by structure where they have one (JSON leaf by leaf, forms, queries and
cookies pair by pair, text line by line, base64 by its content) and by words otherwise, so that
of two URLs with one changed segment only that segment is an original.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from difflib import SequenceMatcher
from enum import Enum
from itertools import accumulate, compress, zip_longest
from operator import not_
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from anonymizer.audit_decode import inflate_base64, narrowed
from anonymizer.audit_pieces import SEEN_MAX, Seen, changed_strings
from anonymizer.audit_places import Place
from anonymizer.audit_printable import text_in_base64, text_in_base85
from anonymizer.audit_urls import PLAIN_URL, changed_segments
from anonymizer.audit_words import COMMON_WORDS

MIN_BYTES = 6
"""A shorter original would turn up by chance; it is counted and not searched (see `worth_searching`)."""

_DEPTH_MAX = 4  # JSON in base64 in a JSON string, and one more
_WORDS_MAX = 6  # a longer passage is prose: its words alone name nobody
_WHOLE_MAX_BYTES = 128  # names and addresses get hashed, passages and URLs do not
_SEEN_MAX_BYTES = 512
_ATOM_REACH_BYTES = 128
_MATCH_WORDS_MAX = 500  # SequenceMatcher is quadratic
_WORD_PATTERN = (
    rb"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)"  # an IPv4 address is one value: 192.0.2 names nobody
    rb"|[0-9A-Za-z\x80-\xff]+"
)
_WORD = re.compile(_WORD_PATTERN)
_WORDS = re.compile(b"(" + _WORD_PATTERN + b")")
_PIECE = re.compile(rb"[^\s/?#&=;,@:]+")
_RUN = re.compile(rb"[^\n\r\t;&<>\"{}|]+")
_ATOM_STOP = re.compile(rb"[\s\"'<>,;&=/?#(){}\[\]|\\]")
_DIGEST = re.compile(rb"(?:sha\d+=)?([0-9a-f]{32,128})")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{12,}={0,2}")
_PACKED = re.compile(rb"(?:H4sI|eJ|eN|eAE|eF4|KLUv)[A-Za-z0-9+/_-]{12,}={0,2}")
_SALIENT = re.compile(
    rb"[^\s@\"'<>,;]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"  # an e-mail address
    rb"|\+?\d[\d() .-]{7,20}\d"  # a phone, card or account number
    rb"|(?<![\w-])(?=[A-Za-z_-]*\d)(?=[\d_-]*[A-Za-z])[\w-]{12,}"  # a token
)
_LETTERS = re.compile(rb"[A-Za-z]+")


class Part(Enum):
    """What an original is to the value it stood in."""

    VALUE = "value"  # what differs; searched in every encoding
    WHOLE = "whole"  # the field around it; searched hashed, since a hash covers a whole field
    SHORT = "short"  # what differs, too short to be searched
    COMMON = "common"  # what differs is one of COMMON_WORDS, and not searched


class Span(NamedTuple):  # made for every value that differs, in a third of a dataclass's time
    """An original, or a field that holds one."""

    part: Part
    value: bytes

    def __repr__(self) -> str:
        """Say what it is to the field, never the value."""
        return f"Span({self.part}, {len(self.value)} bytes)"


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with order and duplicate keys kept."""


def worth_searching(value: bytes) -> bool:
    """
    6 bytes or more, or 5 of at least three character classes (`x7-Kq`): chance will not make those.

    The zero bytes of UTF-16 and UTF-32 say nothing.
    """
    value = value.replace(b"\0", b"").strip()
    if len(value) >= MIN_BYTES:
        return True
    classes = {
        0 if 48 <= byte <= 57 else 1 if 97 <= byte <= 122 else 2 if 65 <= byte <= 90 else 3 for byte in value
    }
    return len(value) >= MIN_BYTES - 1 and len(classes) >= 3


def place_spans(original: Place, anonymized: Place | None, seen: Seen | None = None) -> Iterator[Span]:
    """
    What ``original`` holds and ``anonymized``, its counterpart (None: left out), does not.

    ``seen`` carries over from place to place: the spans of a pair of fields or JSON leaves come once.
    """
    before, after = original.data, anonymized.data if anonymized is not None else b""
    seen = set() if seen is None else seen
    kind, name, _ = original.key
    if (
        before == after
        or original.derived
        or _known((b"%b %b" % (kind.encode(), name) + before, after), seen)
    ):
        return
    if kind.endswith(("header", "trailer")) and name in {b"cookie", b"set-cookie"}:
        yield from _pairs(before, after, b";", 0)
    elif kind == "request target":
        path_before, _, query_before = before.partition(b"?")
        path_after, _, query_after = after.partition(b"?")
        yield from _segments(path_before, path_after)
        yield from _pairs(query_before, query_after, b"&", 0)
    elif original.content_type.startswith(b"application/x-www-form-urlencoded"):
        yield from _pairs(before, after, b"&", 0)
    else:
        yield from _body(before, after, seen)


def _known(pair: tuple[bytes, bytes] | tuple[str, str], seen: Seen) -> bool:
    """Whether ``pair`` is in ``seen``, where it will be from now on; a long one never is."""
    if len(pair[0]) > _SEEN_MAX_BYTES:
        return False
    if pair in seen:  # the same user stands in every exchange
        return True
    if len(seen) >= SEEN_MAX:
        seen.clear()
    seen.add(pair)
    return False


def _body(before: bytes, after: bytes, seen: Seen) -> Iterator[Span]:
    changed = changed_strings(before, after, seen) if before[:1] in {b"{", b"["} else None
    if changed is None:
        yield from _value(before, after, 0, seen)
        return
    if not changed:
        return
    plain = list(map(PLAIN_URL.fullmatch, [left for left, _ in changed]))
    segments = changed_segments(list(compress(changed, plain)), MIN_BYTES)
    if segments is not None:
        changed = list(compress(changed, map(not_, plain)))
        for pair in segments:
            if not _known(pair, seen):
                yield from _words(*pair, 1)
    for pair in changed:
        if not _known(pair, seen):
            yield from _value(*pair, 1)


def _segments(before: bytes, after: bytes) -> Iterator[Span]:
    segments_before, segments_after = before.split(b"/"), after.split(b"/")
    if len(segments_before) != len(segments_after):
        yield from _value(before, after, 0)
        return
    for left, right in zip(segments_before, segments_after, strict=True):
        yield from _value(unquote_to_bytes(left), unquote_to_bytes(right), 0)


def _pairs(before: bytes, after: bytes, separator: bytes, depth: int) -> Iterator[Span]:
    pairs_before, pairs_after = before.split(separator), after.split(separator)
    if len(pairs_before) != len(pairs_after):
        yield from _value(before, after, depth)
        return
    for left, right in zip(pairs_before, pairs_after, strict=True):
        if left == right:
            continue
        name_left, _, value_left = left.partition(b"=")
        name_right, _, value_right = right.partition(b"=")
        plus = separator == b"&"  # a space in forms and queries, itself in cookies
        yield from _value(_unquote(name_left, plus=plus), _unquote(name_right, plus=plus), depth)
        yield from _value(_unquote(value_left, plus=plus), _unquote(value_right, plus=plus), depth)


def _unquote(text: bytes, *, plus: bool) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" ") if plus else text)


def _value(before: bytes, after: bytes, depth: int, seen: Seen | None = None) -> Iterator[Span]:
    if before == after or not before:
        return
    left = narrowed(before)
    right = None if left is None else narrowed(after)
    if left is not None and right is not None:
        before, after = left, right
    if depth < _DEPTH_MAX and before.lstrip()[:1] in {b"{", b"["}:
        left, right = _json(before), _json(after)
        if left is not None and right is not None:
            yield from _leaves(left, right, depth, set() if seen is None else seen)
            return
    if b"\n" in before.strip() and before.count(b"\n") == after.count(b"\n"):
        for left_line, right_line in zip(before.split(b"\n"), after.split(b"\n"), strict=True):
            yield from _line(left_line, right_line, depth)
        return
    digest = _DIGEST.fullmatch(before)
    if digest is not None and _DIGEST.fullmatch(after):  # a signature, new in each request: all is plain
        yield Span(part=Part.VALUE, value=digest[1])
        return
    segments = changed_segments([(before, after)], MIN_BYTES) if PLAIN_URL.fullmatch(before) else None
    for left, right in [(before, after)] if segments is None else segments:
        yield from _words(left, right, depth)


def _line(before: bytes, after: bytes, depth: int) -> Iterator[Span]:
    if before.startswith(b"data:") and after.startswith(b"data:"):  # server-sent events
        yield from _value(before[5:].strip(), after[5:].strip(), depth)
    else:
        yield from _value(before.rstrip(b"\r"), after.rstrip(b"\r"), depth)


def _json(data: bytes) -> Any:
    """Objects as `_Pairs`, numbers as they are spelled; None when ``data`` is not a JSON document."""
    try:
        parsed = json.loads(data, object_pairs_hook=_Pairs, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, list) else None


def _leaves(before: Any, after: Any, depth: int, seen: Seen) -> Iterator[Span]:
    stack = [(before, after)]
    while stack:
        left, right = stack.pop()
        if type(left) is type(right) and left == right:
            continue
        if isinstance(left, str) and isinstance(right, str) and _known((left, right), seen):
            continue
        if isinstance(left, _Pairs):
            yield from _objects(left, right, stack, depth)
        elif isinstance(left, list):
            rights = right if isinstance(right, list) and not isinstance(right, _Pairs) else []
            stack.extend((item, other) for item, other in zip_longest(left, rights) if item is not None)
        else:
            other = b"" if isinstance(right, list) else _leaf(right)
            yield from _value(_leaf(left), other, depth + 1)


def _objects(left: _Pairs, right: Any, stack: list[tuple[Any, Any]], depth: int) -> Iterator[Span]:
    if isinstance(right, _Pairs) and len(left) == len(right):
        for (name, value), (other_name, other_value) in zip(left, right, strict=True):
            stack.append((value, other_value))
            if name != other_name:
                yield from _value(_leaf(name), _leaf(other_name), depth + 1)
        return
    others = dict(right) if isinstance(right, _Pairs) else {}
    stack.extend((value, others.get(name)) for name, value in left)


def _leaf(value: Any) -> bytes:
    if value is None:
        return b""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass")


def _words(before: bytes, after: bytes, depth: int) -> Iterator[Span]:
    if _ESCAPE.search(before):
        before, after = unquote_to_bytes(before), unquote_to_bytes(after)
    if depth < _DEPTH_MAX:
        for decode in (_inside_packed, text_in_base85):
            content = decode(before)
            if content is not None:  # how it is coded says nothing: what is in it counts
                yield from _value(content, decode(after) or b"", depth + 1)
                return
        yield from _decoded(before, after, depth)
    pieces, others = _WORDS.split(before), _WORDS.split(after)  # every second one is a word
    words, ends = pieces[1::2], list(accumulate(map(len, pieces)))
    ranges = list(_changed_ranges(words, others[1::2], pieces[::2] == others[::2]))
    if ranges and len(before) <= _WHOLE_MAX_BYTES and b"/" not in before:
        yield Span(part=Part.WHOLE, value=before.strip())
    nothing_left = not words or ranges == [(0, len(words))]
    if nothing_left and len(words) <= _WORDS_MAX and worth_searching(before.strip()):
        yield _searchable(before.strip())
    entities = [match.span() for match in _SALIENT.finditer(before)] if ranges else []
    for first, last in ranges:
        start, stop = ends[2 * first], ends[2 * last - 1]
        nearest = bisect_right(entities, (start, len(before))) - 1
        entity = entities[nearest] if nearest >= 0 and entities[nearest][1] >= stop else None
        if entity is not None:  # of two phone numbers the last digits may differ alone
            yield _searchable(before[slice(*entity)])
        yield from _run(before, start, stop, inside=entity)


def _changed_ranges(words: list[bytes], others: list[bytes], same_shape: bool) -> Iterator[tuple[int, int]]:
    """Ranges of ``words`` that have no counterpart; the last index is not part of a range."""
    if same_shape:
        first = None
        for index, (word, other) in enumerate(zip(words, others, strict=True)):
            if word != other and first is None:
                first = index
            elif word == other and first is not None:
                yield first, index
                first = None
        if first is not None:
            yield first, len(words)
        return
    head, limit = 0, min(len(words), len(others))
    while head < limit and words[head] == others[head]:
        head += 1
    tail = 0
    while tail < limit - head and words[-1 - tail] == others[-1 - tail]:
        tail += 1
    left, right = words[head : len(words) - tail], others[head : len(others) - tail]
    if not left:
        return
    if not right or max(len(left), len(right)) > _MATCH_WORDS_MAX:
        yield head, head + len(left)
        return
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    for operation, start, stop, _, _ in matcher.get_opcodes():
        if operation in {"replace", "delete"}:
            yield head + start, head + stop


def _run(text: bytes, start: int, stop: int, *, inside: tuple[int, int] | None) -> Iterator[Span]:
    """
    The spans of one changed stretch of ``text``: itself, and its parts that mean something alone.

    A stretch too short to be searched is searched with what is around it; ``inside`` says that
    the address or number it is part of has been taken already.
    """
    count = len(_WORD.findall(text, start, stop))
    if count > _WORDS_MAX:
        yield Span(part=Part.VALUE, value=text[start:stop].strip())
        for match in _SALIENT.finditer(text, start, stop):
            yield _searchable(match[0])
        return
    for match in _RUN.finditer(text, start, stop):
        run = match[0].strip()
        atom = _atom(text, match.start(), match.end())
        if worth_searching(run):
            yield _searchable(run)
            yield Span(part=Part.WHOLE, value=atom)
        elif inside is not None:
            continue
        elif worth_searching(atom):
            yield Span(part=Part.VALUE, value=atom)
        elif run:
            yield Span(part=Part.SHORT, value=run)
        if count > 1:
            yield from _parts(run)


def _atom(text: bytes, start: int, stop: int) -> bytes:
    """The stretch around ``start:stop`` up to a space, quote, slash or the like: an address, a key."""
    first = max(0, start - _ATOM_REACH_BYTES)
    while start > first and not _ATOM_STOP.match(text, start - 1, start):
        start -= 1
    end = _ATOM_STOP.search(text, stop, stop + _ATOM_REACH_BYTES)
    return text[start : end.start() if end else stop + _ATOM_REACH_BYTES]


def _parts(run: bytes) -> Iterator[Span]:
    pieces = [piece.strip(b".-_") for piece in _PIECE.findall(run)]
    words = [word for piece in pieces for word in _WORD.findall(piece)]
    for part in dict.fromkeys((*pieces, *words)):
        size_bytes = sum(len(word) for word in _WORD.findall(part))
        if part != run and size_bytes >= MIN_BYTES + part.isdigit() and not _common(part):
            yield Span(part=Part.VALUE, value=part)


def _searchable(value: bytes) -> Span:
    return Span(part=Part.COMMON if value.lower() in COMMON_WORDS else Part.VALUE, value=value)


def _common(part: bytes) -> bool:
    """Whether ``part`` is made of words of the trade and of words too short to matter."""
    return all(len(word) < 4 or word.lower() in COMMON_WORDS for word in _WORD.findall(part))


def _inside_packed(text: bytes) -> bytes | None:
    return inflate_base64(text) if _PACKED.fullmatch(text) else None


def _decoded(before: bytes, after: bytes, depth: int) -> Iterator[Span]:
    """Spans inside base64 text (Basic credentials, JWT parts, wrapped JSON) that differs."""
    candidates = _BASE64.findall(before)
    if not candidates:
        return
    others = _BASE64.findall(after)
    paired = others if len(others) == len(candidates) else [b""] * len(candidates)
    kept = set(others)
    for text, other in zip(candidates, paired, strict=True):
        if text in kept or _LETTERS.fullmatch(text):
            continue
        content = text_in_base64(text)
        if content is not None:
            yield from _value(content, text_in_base64(other) or b"", depth + 1)
