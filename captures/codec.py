"""Exchanges, messages and headers to msgpack rows and back; docs/format.md lists every field."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import msgpack

from captures.errors import CaptureError
from captures.model import (
    MAX_CONNECTIONS,
    CaptureHeader,
    Counters,
    Exchange,
    Failure,
    FailureReason,
    Headers,
    HmacTemplate,
    Message,
    MessageKind,
    Provenance,
    RecorderFacts,
    Request,
    Response,
    SignatureScheme,
    SigningRecipe,
)

RESPONSE_ROW = 0
"""What the row of a response begins with."""
_FAILURE = 1
_EXCHANGE_FIELDS = 7
_BAD_ROW = "A row is damaged; run hookreel verify FILE --salvage OUT to keep what is whole."
# What unpacking or rebuilding an arbitrary msgpack value can raise.
_ROW_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    RecursionError,
    msgpack.exceptions.UnpackException,
)
_MESSAGE_KINDS = list(MessageKind)
_KIND_NUMBER = {kind: number for number, kind in enumerate(_MESSAGE_KINDS)}


def exchange_row(exchange: Exchange) -> tuple[Any, ...]:
    """One exchange as the plain tuple that msgpack packs."""
    request, signing = exchange.request, exchange.signing
    return (
        exchange.seq,
        exchange.offset_ns,
        exchange.request_end_ns,
        exchange.connection,
        (
            request.method,
            request.scheme,
            request.authority,
            request.target,
            request.http_version,
            request.headers,
            request.body,
            request.trailers,
            request.truncated_bytes,
        ),
        outcome_row(exchange.outcome),
        None if signing is None else _recipe_row(signing),
    )


def _recipe_row(recipe: SigningRecipe) -> tuple[Any, ...]:
    template = recipe.template
    if template is None:
        return (recipe.scheme.value, recipe.header)
    row = (
        template.algorithm,
        template.encoding,
        template.prefix,
        template.signed,
        template.timestamp_header,
    )
    return (recipe.scheme.value, recipe.header, row)


def _build_recipe(scheme: Any, header: Any, row: Any = None) -> SigningRecipe:
    _check_bytes(header)
    template = None
    if row is not None:
        algorithm, encoding, prefix, signed, timestamp_header = row
        _check_bytes(prefix, signed, timestamp_header)
        template = HmacTemplate(
            algorithm=algorithm,
            encoding=encoding,
            prefix=prefix,
            signed=signed,
            timestamp_header=timestamp_header,
        )
    return SigningRecipe(scheme=SignatureScheme(scheme), header=header, template=template)


def outcome_row(outcome: Response | Failure) -> tuple[Any, ...]:
    """The part of an exchange's row that says what came back."""
    if isinstance(outcome, Failure):
        return (_FAILURE, outcome.reason.value, outcome.offset_ns, outcome.detail)
    return (
        RESPONSE_ROW,
        outcome.status,
        outcome.reason,
        outcome.http_version,
        outcome.headers,
        outcome.offset_ns,
        outcome.end_ns,
        outcome.body,
        outcome.trailers,
        outcome.truncated_bytes,
        outcome.stream,
    )


def is_exchange_row(row: tuple[Any, ...]) -> bool:
    """Whether a row of the current version is an exchange's, and no message's."""
    return len(row) == _EXCHANGE_FIELDS


def unpack_row(row: bytes | memoryview) -> tuple[Any, ...]:
    """
    One row as plain tuples, not yet checked or migrated.

    Raises:
        CaptureError: it is not a msgpack array.

    """
    try:
        value = msgpack.unpackb(row, use_list=False)
    except _ROW_ERRORS:
        raise CaptureError(_BAD_ROW) from None
    if type(value) is not tuple:
        raise CaptureError(_BAD_ROW)
    return value


def build_exchange(row: tuple[Any, ...]) -> Exchange:
    """
    The exchange of an unpacked row of the current version.

    Raises:
        CaptureError: a field is missing or of another type.

    """
    try:
        seq, offset_ns, request_end_ns, connection, request_row, outcome_row, signing_row = row
        check_ints(seq, offset_ns, request_end_ns, connection)
        if not 0 <= connection < MAX_CONNECTIONS:
            raise ValueError
        signing = None if signing_row is None else _build_recipe(*signing_row)
        return Exchange(
            seq=seq,
            offset_ns=offset_ns,
            request_end_ns=request_end_ns,
            connection=connection,
            request=_build_request(request_row),
            outcome=_build_outcome(outcome_row),
            signing=signing,
        )
    except _ROW_ERRORS:
        raise CaptureError(_BAD_ROW) from None


def _build_request(row: tuple[Any, ...]) -> Request:
    method, scheme, authority, target, http_version, headers, body, trailers, truncated = row
    _check_bytes(method, scheme, authority, target, http_version, body)
    _check_headers(headers)
    _check_headers(trailers)
    check_ints(truncated)
    return Request(
        method=method,
        scheme=scheme,
        authority=authority,
        target=target,
        http_version=http_version,
        headers=headers,
        body=body,
        trailers=trailers,
        truncated_bytes=truncated,
    )


def _build_outcome(row: tuple[Any, ...]) -> Response | Failure:
    if row[0] == _FAILURE:
        _, reason, offset_ns, detail = row
        check_ints(offset_ns)
        if type(detail) is not str:
            raise TypeError
        return Failure(reason=FailureReason(reason), offset_ns=offset_ns, detail=detail)
    kind, status, reason, http_version, headers, offset_ns, end_ns, body, trailers, truncated, stream = row
    if kind != RESPONSE_ROW or type(stream) is not bool:
        raise TypeError
    _check_bytes(reason, http_version, body)
    check_ints(status, offset_ns, truncated)
    if end_ns is not None:
        check_ints(end_ns)
    _check_headers(headers)
    _check_headers(trailers)
    if not 0 < status < 1000:
        raise ValueError
    return Response(
        status=status,
        reason=reason,
        http_version=http_version,
        headers=headers,
        offset_ns=offset_ns,
        end_ns=end_ns,
        body=body,
        trailers=trailers,
        truncated_bytes=truncated,
        stream=stream,
    )


def check_ints(*values: object) -> None:
    """
    Check that each value is an int64.

    Raises:
        TypeError: one is not.

    """
    for value in values:
        if type(value) is not int or not -(2**63) <= value < 2**63:
            raise TypeError


def _check_bytes(*values: object) -> None:
    for value in values:
        if type(value) is not bytes:
            raise TypeError


def _check_headers(headers: Headers) -> None:
    if type(headers) is not tuple:
        raise TypeError
    for name, value in headers:
        if type(name) is not bytes or type(value) is not bytes:
            raise TypeError


def message_row(message: Message) -> tuple[Any, ...]:
    """One message as the plain tuple that msgpack packs."""
    return (
        message.exchange,
        message.offset_ns,
        message.from_client,
        _KIND_NUMBER[message.kind],
        message.payload,
        message.truncated_bytes,
    )


def build_message(row: tuple[Any, ...]) -> Message:
    """
    The message of an unpacked row of the current version.

    Raises:
        CaptureError: a field is missing or of another type.

    """
    try:
        exchange, offset_ns, from_client, kind, payload, truncated = row
        check_ints(exchange, offset_ns, kind, truncated)
        _check_bytes(payload)
        if type(from_client) is not bool or not 0 <= kind < len(_MESSAGE_KINDS):
            raise TypeError
    except _ROW_ERRORS:
        raise CaptureError(_BAD_ROW) from None
    return Message(
        exchange=exchange,
        offset_ns=offset_ns,
        from_client=from_client,
        kind=_MESSAGE_KINDS[kind],
        payload=payload,
        truncated_bytes=truncated,
    )


def pack_header(header: CaptureHeader) -> bytes:
    """The capture's header as a msgpack map."""
    anonymized = None if header.anonymized is None else asdict(header.anonymized)
    values = {field.name: getattr(header, field.name) for field in fields(header)}
    return bytes(msgpack.packb({**values, "anonymized": anonymized}))


def build_header(values: dict[str, Any]) -> CaptureHeader:
    """
    The capture's header from an unpacked map; keys it does not know are left alone.

    Raises:
        CaptureError: a field is missing or of another type.

    """
    try:
        anonymized, salt, lineage = values["anonymized"], values["fingerprint_salt"], values["lineage"]
        started_wall_ns = values["started_wall_ns"]
        source_problems = values.get("source_problems", [])
        texts = [values["capture_id"], values["tool"], values["source"], *lineage, *source_problems]
        if anonymized is not None:
            texts += [anonymized["policy"], anonymized["key_fingerprint"]]
        check_ints(started_wall_ns)
        _check_bytes(salt)
        if type(lineage) is not list or type(source_problems) is not list:
            raise TypeError
        if not all(type(text) is str for text in texts):
            raise TypeError
        header = CaptureHeader(
            capture_id=values["capture_id"],
            started_wall_ns=started_wall_ns,
            tool=values["tool"],
            source=values["source"],
            fingerprint_salt=salt,
            lineage=tuple(lineage),
            anonymized=None
            if anonymized is None
            else Provenance(
                policy=anonymized["policy"],
                key_fingerprint=anonymized["key_fingerprint"],
                audit_passed=anonymized.get("audit_passed", False) is True,
            ),
            source_problems=tuple(source_problems),
        )
        if not 1 <= len(header.fingerprint_salt) <= 64:
            raise ValueError
    except _ROW_ERRORS:
        raise CaptureError("The file's header block is damaged; give an undamaged copy.") from None
    return header


def unpack_map(payload: bytes) -> dict[str, Any]:
    """
    A msgpack map with string keys.

    Raises:
        CaptureError: it is something else.

    """
    try:
        value = msgpack.unpackb(payload)
    except _ROW_ERRORS:
        raise CaptureError(_BAD_ROW) from None
    if type(value) is not dict or not all(type(key) is str for key in value):
        raise CaptureError(_BAD_ROW)
    return value


def pack_counters(counters: Counters) -> bytes:
    """The account as a msgpack map."""
    return bytes(msgpack.packb(asdict(counters)))


def build_counters(values: dict[str, Any]) -> Counters:
    """
    The account from an unpacked map.

    Raises:
        CaptureError: a count is missing or no number.

    """
    try:
        counts = {field.name: values[field.name] for field in fields(Counters)}
        check_ints(*counts.values())
    except _ROW_ERRORS:
        raise CaptureError(_BAD_ROW) from None
    return Counters(**counts)


def facts_map(facts: RecorderFacts) -> dict[str, dict[str, int]]:
    """The recorder's facts as a map that msgpack packs."""
    return {field.name: dict(getattr(facts, field.name)) for field in fields(RecorderFacts)}


def build_facts(values: dict[str, dict[str, int]]) -> RecorderFacts:
    """
    The recorder's facts from an unpacked map; keys it does not know are left alone.

    Raises:
        CaptureError: something is of another type.

    """
    try:
        counts = {field.name: dict(values.get(field.name, {})) for field in fields(RecorderFacts)}
        for numbers in counts.values():
            check_ints(*numbers.values())
            if not all(type(name) is str for name in numbers):
                raise TypeError
    except (*_ROW_ERRORS, AttributeError):
        raise CaptureError(_BAD_ROW) from None
    return RecorderFacts(**counts)
