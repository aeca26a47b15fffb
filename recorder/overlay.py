"""
What a foreign format cannot hold, kept beside it, so that export and import again lose nothing.

An exporter writes an exchange the foreign way, reads it back as any importer would (``plain``)
and stores here only the fields that came back different. Each field is sealed with a checksum
of the plain value: where somebody edited the foreign part by hand, the edit wins.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from captures.model import (
    Exchange,
    Failure,
    FailureReason,
    Headers,
    HmacTemplate,
    Response,
    SignatureScheme,
    SigningRecipe,
)

Overlay: TypeAlias = dict[str, Any]
"""Plain JSON values only."""

_LIMIT_NS = 2**62
_ERRORS = (ValueError, TypeError, KeyError, AttributeError, LookupError)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a field's value goes to JSON and back; ``back`` raises one of ``_ERRORS`` on anything else."""

    to: Callable[[Any], Any]
    back: Callable[[Any], Any]
    is_time: bool = False


def _number(value: Any) -> int:
    if type(value) is not int or not -_LIMIT_NS < value < _LIMIT_NS:
        raise ValueError("not a number")
    return value


def _count(value: Any) -> int:
    if _number(value) < 0:
        raise ValueError("below 0")
    return int(value)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("not a flag")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("not a text")
    value.encode()  # JSON may hold halves of characters, which no file of ours does
    return value


def _from_pairs(value: Any) -> Headers:
    return tuple((name.encode("latin-1"), content.encode("latin-1")) for name, content in value)


def _from_recipe(value: Any) -> SigningRecipe | None:
    if value is None:
        return None
    scheme, header, *texts = value
    template = None
    if texts:
        algorithm, encoding, prefix, signed, timestamp_header = texts
        template = HmacTemplate(
            algorithm=algorithm,
            encoding=encoding,
            prefix=prefix.encode("latin-1"),
            signed=signed.encode("latin-1"),
            timestamp_header=timestamp_header.encode("latin-1"),
        )
    return SigningRecipe(scheme=SignatureScheme(scheme), header=header.encode("latin-1"), template=template)


def _to_recipe(value: SigningRecipe | None) -> Any:
    if value is None:
        return None
    texts = [value.scheme.value, value.header.decode("latin-1")]
    template = value.template
    if template is not None:
        written = (template.prefix, template.signed, template.timestamp_header)
        texts += [template.algorithm, template.encoding, *(text.decode("latin-1") for text in written)]
    return texts


_TEXT = _Kind(lambda value: value.decode("latin-1"), lambda value: value.encode("latin-1"))
_BODY = _Kind(
    lambda value: base64.b64encode(value).decode("ascii"),
    lambda value: base64.b64decode(value, validate=True),
)
_PAIRS = _Kind(
    lambda value: [[name.decode("latin-1"), content.decode("latin-1")] for name, content in value],
    _from_pairs,
)
_COUNT = _Kind(_count, _count)
_FLAG = _Kind(_flag, _flag)
_TIME = _Kind(_number, _number, is_time=True)
_TIME_OR_NONE = _Kind(
    lambda value: value, lambda value: None if value is None else _number(value), is_time=True
)

_EXCHANGE = {"offset_ns": _TIME, "request_end_ns": _TIME, "signing": _Kind(_to_recipe, _from_recipe)}
_REQUEST = {
    "method": _TEXT, "scheme": _TEXT, "authority": _TEXT, "target": _TEXT, "http_version": _TEXT,
    "headers": _PAIRS, "body": _BODY, "trailers": _PAIRS, "truncated_bytes": _COUNT,
}  # fmt: skip
_RESPONSE = {
    "status": _COUNT, "reason": _TEXT, "http_version": _TEXT, "headers": _PAIRS, "offset_ns": _TIME,
    "end_ns": _TIME_OR_NONE, "body": _BODY, "trailers": _PAIRS, "truncated_bytes": _COUNT, "stream": _FLAG,
}  # fmt: skip
_FAILURE = {
    "reason": _Kind(lambda value: value.value, FailureReason),
    "offset_ns": _TIME,
    "detail": _Kind(str, _text),
}


def difference(plain: Exchange, exact: Exchange, *, started_wall_ns: int) -> Overlay:
    """
    What must be known beside ``plain`` to get ``exact``; seq and connection are not part of it.

    Both have offsets from ``started_wall_ns``.
    """
    overlay: Overlay = {"started_wall_ns": started_wall_ns}
    exchange = _changes(plain, exact, _EXCHANGE, started_wall_ns)
    request = _changes(plain.request, exact.request, _REQUEST, started_wall_ns)
    if exchange:
        overlay["exchange"] = exchange
    if request:
        overlay["request"] = request
    kinds = _RESPONSE if isinstance(exact.outcome, Response) else _FAILURE
    if type(plain.outcome) is not type(exact.outcome):
        whole = {name: kind.to(getattr(exact.outcome, name)) for name, kind in kinds.items()}
        overlay["response" if kinds is _RESPONSE else "failure"] = whole
    elif outcome := _changes(plain.outcome, exact.outcome, kinds, started_wall_ns):
        overlay["outcome"] = outcome
    return overlay


def apply(plain: Exchange, overlay: Overlay, *, started_wall_ns: int) -> Exchange:
    """
    ``plain`` (with offsets from ``started_wall_ns``) with the overlay's fields.

    Raises:
        ValueError: the overlay is not one of ours; the text holds no traffic.

    """
    try:
        shift_ns = _number(overlay["started_wall_ns"]) - started_wall_ns
        request = _changed(plain.request, overlay.get("request", {}), _REQUEST, started_wall_ns, shift_ns)
        outcome = _outcome(plain, overlay, started_wall_ns, shift_ns)
        exchange = _changed(plain, overlay.get("exchange", {}), _EXCHANGE, started_wall_ns, shift_ns)
        changed: Exchange = replace(exchange, request=request, outcome=outcome)
    except _ERRORS:
        raise ValueError("the overlay is damaged") from None
    return changed


def started_wall_ns_of(overlay: Any) -> int | None:
    """The start of the capture that an overlay's exchange came from, or None."""
    value = overlay.get("started_wall_ns") if isinstance(overlay, dict) else None
    return value if type(value) is int and abs(value) < _LIMIT_NS else None


def _outcome(plain: Exchange, overlay: Overlay, wall_ns: int, shift_ns: int) -> Response | Failure:
    is_response = isinstance(plain.outcome, Response)
    other = overlay.get("failure" if is_response else "response")
    if other is None:
        kinds = _RESPONSE if is_response else _FAILURE
        changed: Response | Failure = _changed(
            plain.outcome, overlay.get("outcome", {}), kinds, wall_ns, shift_ns
        )
        return changed
    kinds = _FAILURE if is_response else _RESPONSE
    values: dict[str, Any] = {
        name: _shifted(kind.back(other[name]), shift_ns) if kind.is_time else kind.back(other[name])
        for name, kind in kinds.items()
    }
    return Failure(**values) if is_response else Response(**values)


def _changes(plain: Any, exact: Any, kinds: dict[str, _Kind], wall_ns: int) -> Overlay:
    changes: Overlay = {}
    for name, kind in kinds.items():
        before, after = getattr(plain, name), getattr(exact, name)
        if before != after:
            changes[name] = [_seal(before, kind, wall_ns), kind.to(after)]
    return changes


def _changed(plain: Any, changes: Any, kinds: dict[str, _Kind], wall_ns: int, shift_ns: int) -> Any:
    values: dict[str, Any] = {}
    for name, kind in kinds.items():
        if name not in changes:
            continue
        seal, value = changes[name]
        after = kind.back(value)
        if seal == _seal(getattr(plain, name), kind, wall_ns):
            values[name] = _shifted(after, shift_ns) if kind.is_time else after
    return replace(plain, **values) if values else plain


def _seal(value: Any, kind: _Kind, wall_ns: int) -> int:
    if kind.is_time and value is not None:
        value += wall_ns  # offsets may count from another start when they are read again
    return zlib.crc32(repr(value).encode("utf-8", errors="replace"))


def _shifted(offset_ns: int | None, shift_ns: int) -> int | None:
    return None if offset_ns is None else offset_ns + shift_ns
