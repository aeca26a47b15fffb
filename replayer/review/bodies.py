"""Where two bodies differ: JSON by its paths, everything else as a whole."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from captures.bodies.coding import CodingError, decode
from captures.bodies.json import looks_like_json
from captures.endpoints import is_id
from captures.units import MIB
from replayer.kept import KeptResponse
from replayer.review.answers import Change

_MOST_BYTES = MIB  # a larger body is compared as a whole
_MOST_DEPTH = 60  # a deeper one too, as no honest answer is
_LONGEST_KEY = 200  # characters in a path, which is made anew for each element of an array under it
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_IDS = "{id}"


def _never(_path: str) -> bool:
    return False


def _exactly(_path: str) -> tuple[float, float]:
    return 0.0, 0.0


class Difference(NamedTuple):
    """
    One place in which two answers to the same request differ.

    ``before`` and ``after`` are JSON values, or whatever stands for a body that is none;
    ``None`` where the place is missing.
    """

    path: str
    change: Change
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Leniency:
    """
    What is no difference.

    Of arrays at ``unordered`` paths (``$.items[*]``) the order, at ``volatile`` ones the value,
    what is at ``ignored`` ones or under them, and of numbers what lies within a path's
    ``tolerance`` (relative, absolute).
    """

    volatile: AbstractSet[str] = frozenset()
    unordered: Callable[[str], bool] = _never
    ignored: Callable[[str], bool] = _never
    tolerance: Callable[[str], tuple[float, float]] = _exactly


@dataclass(frozen=True, slots=True)
class Opaque:
    """A body that is no JSON, or too long: its media type, and its bytes, which are equal or not."""

    kind: str
    data: bytes = field(repr=False)


def read_body(response: KeptResponse) -> Any:
    """The body as a JSON value, or ``Opaque``; what cannot be decoded is compared as it came."""
    kind = response.content_type.partition(b";")[0].strip().decode("latin-1").lower()
    try:
        data = decode(response.body, response.content_encoding)
    except CodingError:
        return Opaque(kind, response.body)
    if len(data) <= _MOST_BYTES and ("json" in kind or looks_like_json(data)):
        try:
            value = json.loads(data, parse_constant=str)
        except (ValueError, RecursionError):
            return Opaque(kind, data)
        return value if _is_shallow(value) else Opaque(kind, data)
    return Opaque(kind, data)


def _is_shallow(value: Any) -> bool:
    """Whether a value may be walked by functions that call themselves."""
    level = [value]
    for _ in range(_MOST_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return True
    return False


def differences(before: Any, after: Any, leniency: Leniency) -> list[Difference]:
    """Every place that differs, an array's elements under one path (``$.items[*].total``)."""
    return list(_compare("$", before, after, leniency))


def type_of(value: Any) -> str:
    """The JSON type as people say it; ``body`` of one that is no JSON."""
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "body")


def _compare(path: str, before: Any, after: Any, leniency: Leniency) -> Iterator[Difference]:
    if type_of(before) != type_of(after):
        yield Difference(path, Change.TYPE, before, after)
    elif isinstance(before, dict):
        yield from _compare_objects(path, before, after, leniency)
    elif isinstance(before, list):
        yield from _compare_arrays(f"{path}[*]", before, after, leniency)
    elif before != after and path not in leniency.volatile and not _within(path, before, after, leniency):
        yield Difference(path, Change.VALUE, before, after)


def _within(path: str, before: Any, after: Any, leniency: Leniency) -> bool:
    if type_of(before) != "number":
        return False
    relative, absolute = leniency.tolerance(path)
    if not (relative or absolute):
        return False
    try:
        # JSON has numbers that no float holds: 1e999 is read as infinity, of which any share is infinite.
        return bool(abs(after - before) <= max(absolute, relative * abs(before)) < math.inf)
    except OverflowError:  # and an integer of 400 digits is no factor of one
        return False


def _compare_objects(
    path: str, before: dict[str, Any], after: dict[str, Any], leniency: Leniency
) -> Iterator[Difference]:
    one, other = _fields(path, before, leniency), _fields(path, after, leniency)
    for key in dict.fromkeys([*one, *other]):
        under = path_of(path, key)
        if key not in one:
            yield Difference(under, Change.ADDED, None, other[key])
        elif key not in other:
            yield Difference(under, Change.MISSING, one[key], None)
        elif key == _IDS:
            yield from _compare_arrays(under, one[key], other[key], leniency)
        else:
            yield from _compare(under, one[key], other[key], leniency)


def path_of(path: str, key: str) -> str:
    """The path of the field ``key`` of the object at ``path``; of a very long key its beginning."""
    name = key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}..."
    return (
        f"{path}.{name}"
        if name == _IDS or _PLAIN_KEY.fullmatch(name)
        else f"{path}[{json.dumps(name, ensure_ascii=False)}]"
    )


def _fields(path: str, values: dict[str, Any], leniency: Leniency) -> dict[str, Any]:
    """The fields that count, by key; those whose keys are ids are one array, as no path may hold an id."""
    ids = [] if leniency.ignored(f"{path}.{_IDS}") else [one for key, one in values.items() if is_id(key)]
    plain = {
        key: value
        for key, value in values.items()
        if not is_id(key) and not leniency.ignored(path_of(path, key))
    }
    return {**plain, _IDS: ids} if ids else plain


def _compare_arrays(
    path: str, before: list[Any], after: list[Any], leniency: Leniency
) -> Iterator[Difference]:
    keys, other_keys = ([_key(path, one, leniency) for one in side] for side in (before, after))
    if keys == other_keys:
        return
    if Counter(keys) == Counter(other_keys):
        if not leniency.unordered(path):
            yield Difference(path, Change.ORDER, before, after)
        return
    if leniency.unordered(path):
        before, after = _unmatched(keys, before, other_keys), _unmatched(other_keys, after, keys)
    else:
        start, stop = _common_ends(keys, other_keys)
        before, after = before[start : len(before) - stop], after[start : len(after) - stop]
    for one, other in zip(before, after, strict=False):
        yield from _compare(path, one, other, leniency)
    yield from (Difference(path, Change.MISSING, one, None) for one in before[len(after) :])
    yield from (Difference(path, Change.ADDED, None, other) for other in after[len(before) :])


def _key(path: str, value: Any, leniency: Leniency) -> str:
    """The same text for elements that are equal but for what is volatile in them."""
    return json.dumps(_plain(path, value, leniency), sort_keys=True)


def _plain(path: str, value: Any, leniency: Leniency) -> Any:
    if isinstance(value, dict):
        return {
            key: [_plain(path_of(path, key), one, leniency) for one in field_value]
            if key == _IDS
            else _plain(path_of(path, key), field_value, leniency)
            for key, field_value in _fields(path, value, leniency).items()
        }
    if isinstance(value, list):
        under = f"{path}[*]"
        plain = [_plain(under, one, leniency) for one in value]
        return sorted(plain, key=json.dumps) if leniency.unordered(under) else plain
    return [type_of(value)] if path in leniency.volatile else value


def _unmatched(keys: Sequence[str], values: Sequence[Any], other_keys: Sequence[str]) -> list[Any]:
    """The values whose keys the other side has not as often, in the order of their keys."""
    left = Counter(keys) - Counter(other_keys)
    found = []
    for key, value in sorted(zip(keys, values, strict=True), key=lambda pair: pair[0]):
        if left[key] > 0:
            left[key] -= 1
            found.append(value)
    return found


def _common_ends(keys: Sequence[str], other_keys: Sequence[str]) -> tuple[int, int]:
    """How many elements at the start, and then at the end, are the same on both sides."""
    most = min(len(keys), len(other_keys))
    start = next((at for at in range(most) if keys[at] != other_keys[at]), most)
    most -= start
    stop = next((at for at in range(most) if keys[-1 - at] != other_keys[-1 - at]), most)
    return start, stop
