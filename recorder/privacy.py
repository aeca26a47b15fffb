"""What is taken out of an exchange before it reaches the file: named headers and credentials."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import TypeVar

from ahocorasick_rs import BytesAhoCorasick

from captures.bodies.coding import CodingError, codings, decode, encode
from captures.bodies.edits import Edit, splice, without_overlaps
from captures.credentials import Credential, CredentialKind, find_credentials
from captures.errors import UsageError
from captures.keys import Prf
from captures.model import Exchange, Headers, Message, MessageKind, Request, Response
from recorder.cookies import set_cookies

REDACTED = b"[redacted]"
STAND_IN_PREFIX = b"withheld-"
_STAND_IN_BYTES = 16  # at least; longer values get stand-ins of their own length
_DIGEST_BYTES = 18  # 24 letters
_SHORTEST_PART_BYTES = 8  # of a value that a cut text ends with
_TRIES = 100  # a credential does not repeat its own beginning
_KNOWN = 1000  # values of one exchange or stream that are looked for elsewhere in it
_COUNTED = 100_000  # distinct credentials that are told apart in the account
_FRAMING = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-encoding"})
_NAMES = (
    rb"access[_-]?token|refresh[_-]?token|id[_-]?token|provider(?:[_-]refresh)?[_-]token|auth[_-]?token"
    rb"|session[_-]?token|x-api-key|api[_-]?key|client[_-]?secret|password|token|jwt"
)
# One of these is in every such name; most bodies have none, and are passed in a tenth of the time.
_STEMS = BytesAhoCorasick([b"token", b"jwt", b"apikey", b"api_key", b"api-key", b"secret", b"password"])
# A JSON string's content, possessive: a value of megabytes would take gigabytes to come back through.
_CONTENT = rb'((?=[^"\\]|\\.)[^"\\]*+(?:\\.[^"\\]*+)*+)'
# The first group that took part is the value: a JSON string, one inside a JSON string, a form's.
_NAMED = re.compile(
    rb'"(?:' + _NAMES + rb')"\s*:\s*"' + _CONTENT + rb'"'
    rb'|\\"(?:' + _NAMES + rb')\\"\s*:\s*\\"([^"\\]+)\\"'
    rb"|(?<![A-Za-z0-9_-])(?:" + _NAMES + rb")=([^&#\s\"'<>\\;,]+)",
    re.IGNORECASE,
)

# The same of a text that was cut inside the value.
_NAMED_LAST = re.compile(
    rb'"(?:' + _NAMES + rb')"\s*:\s*"' + _CONTENT + rb"\\?\Z"
    rb'|\\"(?:' + _NAMES + rb')\\"\s*:\s*\\"([^"\\]+)\\?\Z',
    re.IGNORECASE,
)
_Part = TypeVar("_Part", Request, Response)


def check_header_names(names: Iterable[str]) -> frozenset[bytes]:
    """
    Lower-case names of headers to redact.

    Raises:
        UsageError: a name is no header's, or is needed to read the message.

    """
    checked = set()
    for name in names:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise UsageError(f"{name!r} is no header name; write it like X-Internal-Token.")
        if name.lower() in _FRAMING:
            raise UsageError(f"{name} cannot be redacted, since the message is read by it; leave it out.")
        checked.add(name.lower().encode("ascii"))
    return frozenset(checked)


class Redact:
    """Replaces the values of named headers and trailers, in requests and responses."""

    def __init__(self, names: frozenset[bytes]) -> None:
        self._names = names

    def exchange(self, exchange: Exchange) -> Exchange:
        """The exchange without those values."""
        request, outcome = exchange.request, exchange.outcome
        request = replace(
            request, headers=self._clean(request.headers), trailers=self._clean(request.trailers)
        )
        if isinstance(outcome, Response):
            outcome = replace(
                outcome, headers=self._clean(outcome.headers), trailers=self._clean(outcome.trailers)
            )
        return replace(exchange, request=request, outcome=outcome)

    def _clean(self, headers: Headers) -> Headers:
        if not any(name.lower() in self._names for name, _ in headers):
            return headers
        return tuple((name, REDACTED if name.lower() in self._names else value) for name, value in headers)


class Withhold:
    """
    Replaces credentials by stand-ins that tell them apart and nothing else.

    A credential is what Authorization, Cookie, Set-Cookie and API key headers carry, and what
    query, form and JSON fields with such names do. The values of an exchange are also replaced
    wherever else they stand in it or in its stream. Equal values get equal stand-ins, by a key
    that is not in the file, so nobody can try passwords against them.
    """

    def __init__(self, key: bytes) -> None:
        self._prf = Prf(key)
        self._streams: dict[int, dict[bytes, bytes]] = {}
        self._names: set[bytes] = set()
        self.uses = 0
        """How many times a credential was replaced where it is declared."""

    @property
    def names(self) -> frozenset[bytes]:
        """The stand-ins of the credentials that were withheld."""
        return frozenset(self._names)

    def exchange(self, exchange: Exchange) -> Exchange:
        """The exchange with stand-ins."""
        known: dict[bytes, bytes] = {}
        request, outcome = exchange.request, exchange.outcome
        headers = self._declared(request.headers, find_credentials(request.headers), known)
        target = self._named(request.target, known)
        body = self._body(request, known)
        if isinstance(outcome, Response):
            given = (
                *set_cookies(outcome.headers),
                *find_credentials(outcome.headers),
            )  # logins answer so too
            response_headers = self._declared(outcome.headers, given, known)
            outcome = _cleaned(outcome, response_headers, self._body(outcome, known), known)
            if outcome.stream and outcome.end_ns is None:
                self._streams[exchange.seq] = known
        request = replace(_cleaned(request, headers, body, known), target=_without(target, known))
        return replace(exchange, request=request, outcome=outcome)

    def message(self, message: Message) -> Message:
        """The message with stand-ins."""
        if message.kind is MessageKind.END:
            self._streams.pop(message.exchange, None)
            return message
        known = self._streams.get(message.exchange, {})
        payload, is_cut = message.payload, message.truncated_bytes > 0
        if message.kind is not MessageKind.BINARY:
            payload = self._named(payload, known, is_cut=is_cut)
        return replace(message, payload=_without(payload, known, is_cut=is_cut))

    def _declared(
        self, headers: Headers, credentials: Iterable[Credential], known: dict[bytes, bytes]
    ) -> Headers:
        """Headers with stand-ins at the spans of ``credentials``, then those of named fields."""
        edits: dict[int, list[Edit]] = {}
        for item in credentials:
            stand_in = self._stand_in(item.value, basic=item.kind is CredentialKind.BASIC)
            self._note(item.value, stand_in, known)
            edits.setdefault(item.header, []).append(Edit(item.start, item.stop, stand_in))
        return tuple(
            (name, splice(value, edits[index]) if index in edits else self._named(value, known))
            for index, (name, value) in enumerate(headers)
        )

    def _named(self, text: bytes, known: dict[bytes, bytes], *, is_cut: bool = False) -> bytes:
        """``text`` with stand-ins for the values of fields that are named like credentials."""
        if not _STEMS.find_matches_as_indexes(text.lower()):
            return text
        edits = []
        last = _NAMED_LAST.search(text) if is_cut else None
        for match in chain(_NAMED.finditer(text), (last,) if last else ()):
            group = match.lastindex
            assert group is not None
            value = match[group]
            if value.startswith(STAND_IN_PREFIX):
                continue
            stand_in = self._stand_in(value)
            self._note(value, stand_in, known)
            edits.append(Edit(*match.span(group), stand_in))
        return splice(text, without_overlaps(edits)) if edits else text

    def _body(self, part: Request | Response, known: dict[bytes, bytes]) -> bytes | None:
        """The body with stand-ins; None where it cannot be read to its end, so that it may hold anything."""
        coding = b",".join(value for name, value in part.headers if name.lower() == b"content-encoding")
        is_cut = part.truncated_bytes > 0
        if not part.body or not codings(coding):
            return _without(self._named(part.body, known, is_cut=is_cut), known, is_cut=is_cut)
        if is_cut:
            return None
        try:
            plain = decode(part.body, coding)
            cleaned = _without(self._named(plain, known), known)
            return part.body if cleaned == plain else encode(cleaned, coding)
        except CodingError:
            return None

    def _note(self, value: bytes, stand_in: bytes, known: dict[bytes, bytes]) -> None:
        self.uses += 1
        if len(self._names) < _COUNTED:
            self._names.add(stand_in)
        if len(value) >= _STAND_IN_BYTES and len(known) < _KNOWN:
            known[value] = stand_in

    def _stand_in(self, value: bytes, *, basic: bool = False) -> bytes:
        """Of the value's own length, so that framing stays, unless the value is very short."""
        if basic:
            try:
                plain = base64.b64decode(value, validate=True)
            except binascii.Error:
                plain = value
            return base64.b64encode(self._stand_in(plain).replace(b"-", b":", 1))
        digits = base64.urlsafe_b64encode(self._prf.digest("withheld", value, _DIGEST_BYTES))
        size = max(len(value), _STAND_IN_BYTES)
        return (STAND_IN_PREFIX + digits)[:size].ljust(size, b"x")


def _cleaned(part: _Part, headers: Headers, body: bytes | None, known: dict[bytes, bytes]) -> _Part:
    """``part`` with this head and body; a body that is None is left out, and counts as cut."""
    headers, trailers = _without_headers(headers, known), _without_headers(part.trailers, known)
    if body is None:
        left_out = part.truncated_bytes + len(part.body)
        return replace(part, headers=headers, body=b"", trailers=trailers, truncated_bytes=left_out)
    headers = _lengthened(headers, len(part.body), len(body))
    return replace(part, headers=headers, body=body, trailers=trailers)


def _without(text: bytes, known: dict[bytes, bytes], *, is_cut: bool = False) -> bytes:
    """``text`` with the stand-in of every known value; long values first, since one may hold another."""
    values = sorted(known, key=len, reverse=True)
    for value in values:
        text = text.replace(value, known[value])
    if is_cut:  # maybe inside of one
        for value in values:
            if (at := _part_at(text, value)) >= 0:
                return text[:at] + known[value][: len(text) - at]
    return text


def _part_at(text: bytes, value: bytes) -> int:
    """Where the end of ``text`` begins that ``value`` begins with; -1 when it does not end so."""
    at = max(0, len(text) - len(value))
    for _ in range(_TRIES):
        at = text.find(value[:_SHORTEST_PART_BYTES], at)
        if at < 0 or value.startswith(text[at:]):
            return at
        at += 1
    return -1


def _without_headers(headers: Headers, known: dict[bytes, bytes]) -> Headers:
    return tuple((name, _without(value, known)) for name, value in headers) if known else headers


def _lengthened(headers: Headers, before_bytes: int, after_bytes: int) -> Headers:
    """A Content-Length that named the stored body's length names its new one."""
    if before_bytes == after_bytes:
        return headers
    stated = b"%d" % before_bytes
    return tuple(
        (name, b"%d" % after_bytes if name.lower() == b"content-length" and value == stated else value)
        for name, value in headers
    )


class Privacy:
    """The steps of a recording, in order, and what they left out."""

    def __init__(self, *, redact: Sequence[str] = (), withhold_key: bytes | None = None) -> None:
        names = check_header_names(redact)
        self._redact = Redact(names) if names else None
        self._withhold = None if withhold_key is None else Withhold(withhold_key)

    @property
    def withheld_names(self) -> frozenset[bytes]:
        """The stand-ins of the credentials that were withheld."""
        return frozenset() if self._withhold is None else self._withhold.names

    @property
    def withheld_uses(self) -> int:
        """How many times one was."""
        return 0 if self._withhold is None else self._withhold.uses

    def exchange(self, exchange: Exchange) -> Exchange:
        """What may be written of an exchange."""
        if self._withhold is not None:
            exchange = self._withhold.exchange(exchange)
        return exchange if self._redact is None else self._redact.exchange(exchange)

    def message(self, message: Message) -> Message:
        """What may be written of a message."""
        return message if self._withhold is None else self._withhold.message(message)
