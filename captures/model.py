"""
What a capture is made of. Every type here is frozen; a stage returns new ones.

``repr`` shows no bytes of the traffic, so none gets into logs and tracebacks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

MAX_CONNECTIONS = 2**32
"""Connections are numbered below this: a column of the index holds 32 bits."""

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Name and value pairs in wire order, with case and duplicates as they were sent."""


class SignatureScheme(StrEnum):
    """Webhook signature schemes that hookreel recognises and can sign again."""

    GITHUB = "github"
    STRIPE = "stripe"
    SLACK = "slack"
    STANDARD_WEBHOOKS = "standard-webhooks"
    TWILIO = "twilio"
    SHOPIFY = "shopify"
    HMAC = "hmac"  # by a template that a policy gives


class FailureReason(StrEnum):
    """Why an exchange has no whole response."""

    CLIENT_DISCONNECTED = "client-disconnected"
    UPSTREAM_UNREACHABLE = "upstream-unreachable"
    UPSTREAM_RESET = "upstream-reset"
    PROTOCOL_ERROR = "protocol-error"
    TIMEOUT = "timeout"
    OTHER = "other"


_HMAC_ALGORITHMS = ("sha1", "sha256", "sha512")
_HMAC_ENCODINGS = ("hex", "base64")
_HMAC_PART = re.compile(rb"\{(?:body|timestamp|url|header:[A-Za-z0-9_-]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HmacTemplate:
    """
    An HMAC signature that no known scheme writes: ``prefix`` and the encoded digest of ``signed``.

    ``signed`` holds ``{body}``, ``{timestamp}``, ``{url}`` or ``{header:NAME}``, ``prefix`` may
    hold ``{timestamp}``: Unix seconds (milliseconds where ``timestamp_header`` was recorded with
    13 digits).

    Raises:
        ValueError: a field has no such value; the message says which.

    """

    algorithm: str
    encoding: str
    prefix: bytes
    signed: bytes
    timestamp_header: bytes = b""

    def __post_init__(self) -> None:
        if self.algorithm not in _HMAC_ALGORITHMS:
            raise ValueError(f"algorithm must be one of {', '.join(_HMAC_ALGORITHMS)}")
        if self.encoding not in _HMAC_ENCODINGS:
            raise ValueError(f"encoding must be one of {', '.join(_HMAC_ENCODINGS)}")
        if b"{" in _HMAC_PART.sub(b"", self.signed) or not _HMAC_PART.search(self.signed):
            raise ValueError(
                "signed must hold {body}, {timestamp}, {url} or {header:NAME}, and no other brace"
            )
        if b"{" in self.prefix.replace(b"{timestamp}", b""):
            raise ValueError("prefix may hold {timestamp} and no other brace")
        if self.timed and not self.timestamp_header and b"{timestamp}" not in self.prefix:
            raise ValueError("timestamp_header must name the header that carries {timestamp}")

    @property
    def timed(self) -> bool:
        """Whether the signature covers the time of sending."""
        return b"{timestamp}" in self.signed or b"{timestamp}" in self.prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRecipe:
    """
    How a request's signature is made again when it is sent, since the original was removed.

    ``header`` is the header that carries the signature, as it was spelled; the request still
    holds that header at its place, with a stand-in of the same shape as its value. ``template``
    says how, for the scheme ``hmac``.

    Raises:
        ValueError: ``hmac`` has no template, or another scheme has one.

    """

    scheme: SignatureScheme
    header: bytes
    template: HmacTemplate | None = None

    def __post_init__(self) -> None:
        if (self.scheme is SignatureScheme.HMAC) is not (self.template is not None):
            raise ValueError("a template belongs to the scheme hmac, and to no other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    One request as the client sent it.

    ``target`` is in origin form (path and query, escapes kept) whatever form was on the wire;
    ``authority`` is the host and port the client asked for. ``headers`` hold no HTTP/2
    pseudo-headers and, for HTTP/1.1, still hold Host at its place. ``body`` has its content
    coding and no transfer coding. ``truncated_bytes`` counts body bytes that passed, or were
    declared and never came, and are not stored.
    """

    method: bytes
    scheme: bytes
    authority: bytes = field(repr=False)
    target: bytes = field(repr=False)
    http_version: bytes
    headers: Headers = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    trailers: Headers = field(default=(), repr=False)
    truncated_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """
    One response as the client got it.

    ``offset_ns`` is when its head was seen, ``end_ns`` when its last byte was, both on the
    capture's clock. ``end_ns`` is None while a stream (SSE, WebSocket) was still open when
    the recording ended. A stream's body is empty: its messages stand on their own.
    """

    status: int
    reason: bytes = field(repr=False)
    http_version: bytes
    headers: Headers = field(repr=False)
    offset_ns: int
    end_ns: int | None
    body: bytes = field(default=b"", repr=False)
    trailers: Headers = field(default=(), repr=False)
    truncated_bytes: int = 0
    stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """No whole response came: why, and when that was known. ``detail`` never holds traffic."""

    reason: FailureReason
    offset_ns: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """
    One request as it was sent, and what came back for it.

    Offsets count from the capture's own start on one monotonic clock, so they may be
    subtracted from one another and never from wall-clock time. ``seq`` is unique in a
    capture and follows the order in which requests were first seen.
    """

    seq: int
    offset_ns: int  # when the request's first byte (or, by mitmproxy, its head) was seen
    request_end_ns: int  # when the request's last byte was seen
    connection: int  # the client connection it came on, counted from 0
    request: Request
    outcome: Response | Failure
    signing: SigningRecipe | None = None


class MessageKind(StrEnum):
    """What a message is on the wire."""

    TEXT = "text"  # WebSocket text frame(s), joined
    BINARY = "binary"  # WebSocket binary frame(s), joined
    EVENT = "event"  # one SSE event with its closing blank line
    END = "end"  # the stream ended; the payload is empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One WebSocket frame or SSE event inside the exchange with seq ``exchange``."""

    exchange: int
    offset_ns: int
    from_client: bool
    kind: MessageKind
    payload: bytes = field(repr=False)
    truncated_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """
    The completeness account of a recording; all in exchanges.

    ``seen = written + sampled_out + dropped + in_flight`` once a recording has ended.
    ``truncated`` counts written exchanges with a body that was cut.
    """

    seen: int = 0
    written: int = 0
    sampled_out: int = 0
    truncated: int = 0
    dropped: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderFacts:
    """
    What a recorder knew beside the exchanges, once for a whole recording.

    ``added_ns`` has ``p50``, ``p90``, ``p99`` and ``max`` of the proxy's own time per exchange, or
    nothing when that was not measured. ``client_tls`` and ``server_tls`` count connections by what
    they agreed on, such as ``"TLSv1.3 TLS_AES_256_GCM_SHA384 h2"``.
    """

    added_ns: Mapping[str, int] = field(default_factory=dict)
    client_tls: Mapping[str, int] = field(default_factory=dict)
    server_tls: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """
    Which stage made an anonymized capture.

    ``key_fingerprint`` tells keys apart and reveals none. ``audit_passed`` says that the capture was
    searched for every replaced original before it got its name, and none was found.
    """

    policy: str
    key_fingerprint: str
    audit_passed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureHeader:
    """
    What stands once in a capture.

    ``started_wall_ns`` is Unix time in ns at offset 0. ``capture_id`` is 32 hex digits.
    ``fingerprint_salt`` (16 bytes) keys the credential fingerprints of this capture and of
    all that are made from it. ``lineage`` lists the ids of the captures it was made from,
    nearest first. ``source`` says where the traffic came from and holds no user info.
    ``source_problems`` says in sentences what was missing in those captures.
    """

    capture_id: str
    started_wall_ns: int
    tool: str
    source: str
    fingerprint_salt: bytes = field(repr=False)
    lineage: tuple[str, ...] = ()
    anonymized: Provenance | None = None
    source_problems: tuple[str, ...] = ()
