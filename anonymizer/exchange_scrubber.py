"""Whole exchanges and messages: every field they have, and the headers that depend on a body."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from dataclasses import replace
from typing import NamedTuple

from anonymizer.body_scrubber import BodyScrubber
from anonymizer.dependants import refitted, refitted_target
from anonymizer.detectors import credentials
from anonymizer.detectors.base import Context, Kind, normal_key
from anonymizer.detectors.credentials import SecretSpan
from anonymizer.fields import Fields
from anonymizer.policy import Policy
from anonymizer.report import Report
from anonymizer.scrubber import Scrubber
from anonymizer.shared_counts import SharedCounts
from captures.bodies import multipart, percent
from captures.bodies.edits import Edit, splice, without_overlaps
from captures.bodies.url import split_target
from captures.credentials import API_KEY_HEADERS
from captures.endpoints import shape_label
from captures.model import (
    Exchange,
    Failure,
    Headers,
    Message,
    MessageKind,
    Request,
    Response,
    SigningRecipe,
)
from captures.signatures import SIGNATURE_HEADERS, blank_signature, is_signature, recognise

# Names of framing and negotiation: their values are protocol words, and bodies are read by them.
_UNTOUCHED = frozenset(
    {
        b"content-length", b"content-encoding", b"transfer-encoding", b"connection",
        b"accept", b"accept-encoding", b"accept-language", b"date", b"upgrade", b"te",
        b"sec-websocket-key", b"sec-websocket-accept", b"sec-websocket-version", b"grpc-encoding",
    }
)  # fmt: skip
# Names that everybody sends: a value that is spelled like one (a user called "origin") leaves it alone.
_COMMON_NAMES = _UNTOUCHED | SIGNATURE_HEADERS | API_KEY_HEADERS | frozenset(
    b"""
    age allow alt-svc authorization cache-control content-disposition content-language content-location
    content-md5 content-range content-security-policy content-type cookie etag expect expires forwarded from
    host idempotency-key if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive
    last-modified link location max-forwards origin pragma prefer priority proxy-authenticate
    proxy-authorization range referer referrer-policy retry-after server server-timing set-cookie
    strict-transport-security traceparent tracestate trailer upgrade-insecure-requests user-agent vary via
    warning www-authenticate x-content-type-options x-forwarded-for x-forwarded-host x-forwarded-port
    x-forwarded-proto x-frame-options x-github-delivery x-github-event x-powered-by x-real-ip x-request-id
    x-requested-with x-xss-protection
    """.split()
)  # fmt: skip
_WORDS = frozenset({Kind.DOMAIN, Kind.NAME, Kind.USERNAME, Kind.ADDRESS})
_FACTS = frozenset({b"content-type", b"content-encoding", b"grpc-encoding", b"connect-content-encoding"})
_SIGN = re.compile(rb"[-_.]")
_MAX_SAME = 16_384
_MAX_SAME_BYTES = 1_024


class _BodyFacts(NamedTuple):
    """What headers say of a body."""

    content_type: bytes
    content_encoding: bytes  # several are joined
    message_coding: bytes  # of single messages, in gRPC and Connect


class ExchangeScrubber:
    """Anonymizes exchanges and messages; while its scrubber collects, what it returns is of no use."""

    def __init__(
        self, scrubber: Scrubber, policy: Policy, report: Report, fields: Fields | None = None
    ) -> None:
        self._scrubber = scrubber
        self._policy = policy
        self._report = report
        self._bodies = BodyScrubber(scrubber, policy, self, fields)
        self._fields = fields
        self._endpoint = ""
        self._streams: dict[int, str] = {}
        self._shared = SharedCounts()
        self._same: set[tuple[str, bytes, bytes]] = set()
        self._labels: dict[tuple[bytes, bytes], str] = {}

    # -- the tally of bodies ---------------------------------------------------------------

    def replaced(self, path: str, kind: str, count: int) -> None:
        """Count values of ``kind`` for the field at ``path``."""
        if not self._scrubber.collecting:
            self._report.replaced[kind, self._endpoint, path] += count

    def replaced_again(self, counts: Counter[tuple[str, str]]) -> None:
        """Count values as ``counts`` (by path and kind) says, which many bodies share."""
        if not self._scrubber.collecting:
            self._shared.add(self._endpoint, counts, self._report)

    def settle(self) -> None:
        """Put all that was counted into the report."""
        self._shared.settle(self._report)

    def undecodable(self, path: str) -> None:
        """Count a body that could not be read."""
        if not self._scrubber.collecting:
            self._report.undecodable[self._endpoint, path] += 1

    # -- exchanges -------------------------------------------------------------------------

    def exchange(self, exchange: Exchange) -> Exchange:
        """``exchange`` with every sensitive value replaced; order, times and numbers stay."""
        request = exchange.request
        if self._fields is not None:
            self._fields.enter(request.method, request.target)
        target = self._target(request.target)
        # the label counts under the new target, so that a report holds no value of the old one
        if not self._scrubber.collecting:
            self._endpoint = self._label(request.method, target)
            if self._fields is not None:
                self._fields.show()
            self._target(request.target, count=True)
        signing = exchange.signing or recognise(request.headers, self._policy.signatures)
        new_request = self._request(request, target, signing)
        if not self._scrubber.collecting:
            self._report.exchanges += 1
            self._report.signatures += signing is not None
        outcome = exchange.outcome
        if isinstance(outcome, Response):
            if outcome.stream:
                self._streams[exchange.seq] = self._endpoint
                if self._fields is not None:
                    self._fields.keep_stream(exchange.seq)
            new_outcome: Response | Failure = self._response(outcome)
        else:
            detail = self._field(outcome.detail.encode(), Context(), "failure.detail")
            new_outcome = replace(outcome, detail=detail.decode("utf-8", "replace"))
        if self._scrubber.collecting:
            return exchange
        return replace(exchange, request=new_request, outcome=new_outcome, signing=signing)

    def follow(self, exchange: Exchange) -> None:
        """Take note of ``exchange``, which another process scrubbed; its messages come here."""
        label = self._report.endpoint(shape_label(exchange.request.method, exchange.request.target))
        if isinstance(exchange.outcome, Response) and exchange.outcome.stream:
            self._streams[exchange.seq] = label

    def _label(self, method: bytes, target: bytes) -> str:
        known = self._labels.get((method, target))
        if known is None:
            known = self._report.endpoint(shape_label(method, target))
            if len(self._labels) < _MAX_SAME and len(target) <= _MAX_SAME_BYTES:
                self._labels[method, target] = known
        return known

    def message(self, message: Message) -> Message:
        """``message`` with every sensitive value replaced."""
        self._endpoint = self._streams.get(message.exchange, "")
        if self._fields is not None:
            self._fields.enter_stream(message.exchange)
        path = "message.sent" if message.from_client else "message.received"
        if not self._scrubber.collecting:
            self._report.messages += 1
        if not message.payload or self._policy.keeps(path):
            return message
        kind = b"text/event-stream" if message.kind is MessageKind.EVENT else b""
        payload = self._bodies.plain(
            message.payload, content_type=kind, path=path, cut=message.truncated_bytes > 0
        )
        return replace(message, payload=payload)

    def source(self, source: str) -> str:
        """The header's source text with every known value replaced."""
        return self._field(source.encode(), Context(), "header.source").decode("utf-8", "replace")

    # -- parts -----------------------------------------------------------------------------

    def _request(self, request: Request, target: bytes, signing: SigningRecipe | None) -> Request:
        facts = _body_facts(request.headers)
        old = request.body
        body = self._bodies.body(old, **facts._asdict(), path="request.body", cut=request.truncated_bytes > 0)
        headers = self._headers(request.headers, "request", signing)
        method = self._protocol(request.method, "request.method")
        scheme, version = (self._protocol(word, "request") for word in (request.scheme, request.http_version))
        authority = self._authority(request.authority)
        trailers = self._headers(request.trailers, "request", None)
        if self._scrubber.collecting:
            return request
        return replace(
            request,
            method=method,
            scheme=scheme,
            authority=authority,
            http_version=version,
            target=refitted_target(target, old, body),
            headers=refitted(headers, old, body, facts.content_encoding),
            body=body,
            trailers=refitted(trailers, old, body),
        )

    def _response(self, response: Response) -> Response:
        facts = _body_facts(response.headers)
        old = response.body
        body = self._bodies.body(
            old, **facts._asdict(), path="response.body", cut=response.truncated_bytes > 0
        )
        headers = self._headers(response.headers, "response", None)
        reason = self._field(response.reason, Context(), "response.reason")
        version = self._protocol(response.http_version, "response.http_version")
        trailers = self._headers(response.trailers, "response", None)
        if self._scrubber.collecting:
            return response
        return replace(
            response,
            reason=reason,
            http_version=version,
            headers=refitted(headers, old, body, facts.content_encoding),
            body=body,
            trailers=refitted(trailers, old, body),
        )

    def _field(self, value: bytes, context: Context, path: str) -> bytes:
        if not value or self._policy.keeps(path):
            return value
        return self._made(value, self._scrubber.text(value, context), path)

    def _made(self, value: bytes, edits: list[Edit], path: str, *, count: bool = True) -> bytes:
        if path and self._fields is not None:
            edits = self._fields.field(path, value, edits)
        if count:
            self._count(path, edits)
        return value if self._scrubber.collecting or not edits else splice(value, edits)

    def _count(self, path: str, edits: list[Edit]) -> None:
        for edit in edits:
            if edit.label:
                self.replaced(path, edit.label, 1)

    def _remember(self, where: tuple[str, bytes, bytes]) -> None:
        """Remember that a header or target stays as it is, so that it is looked at once."""
        if len(self._same) >= _MAX_SAME:
            self._same.clear()
        if len(where[2]) <= _MAX_SAME_BYTES:
            self._same.add(where)

    def _target(self, target: bytes, *, count: bool = False) -> bytes:
        where = ("target", b"", target)
        if where in self._same:
            return target
        parts = split_target(target)
        edits: list[Edit] = []
        if not self._policy.keeps("request.path"):
            path = percent.unescape(target[: parts.path_stop])
            found = self._scrubber.text(path.text, Context())
            if self._fields is not None:  # all of a path is no field: it has to stay a path
                found = self._fields.field("request.path", path.text, found, whole=False)
            edits += path.raw_edits(found, lambda new, raw: percent.escape(new, raw=raw))
            if count:
                self._count("request.path", edits)
        for start, stop in ((parts.query_start, parts.query_stop), (parts.fragment_start, len(target))):
            edits += self._bodies.query(target, start, stop, "request.query", count=count)
        new = self._made(target, edits, "", count=False)
        if self._fields is None and (not edits or self._scrubber.collecting):
            self._remember(where)
        return new

    def _headers(
        self, headers: Headers, side: str, signing: SigningRecipe | None, part: str = "header"
    ) -> Headers:
        signed = signing.header.lower() if signing is not None else None
        changing = [
            index
            for index, (name, value) in enumerate(headers)
            if (side, name, value) not in self._same or name.lower() == signed
        ]
        if not changing:
            return headers
        secrets: dict[int, list[SecretSpan]] = {}
        for span in credentials.find(tuple([headers[index] for index in changing])):
            secrets.setdefault(changing[span.header], []).append(span)
        made = list(headers)
        for index in changing:
            name, value = headers[index]
            lower_name = name.lower()
            if lower_name == signed or is_signature(name, value):
                made[index] = name, blank_signature(value)
                continue
            new_name = name if lower_name in _COMMON_NAMES else self._header_name(name, f"{side}.{part}")
            path = f"{side}.{part}.{new_name.lower().decode('latin-1')}"
            found = secrets.get(index, [])
            if lower_name in SIGNATURE_HEADERS and value:  # of no known shape, so all of it is a secret
                found = [SecretSpan(index, 0, len(value), basic=False)]
            new = self._header(lower_name, value, found, path, side)
            if (new_name, new) == (name, value) and not found and self._fields is None:
                self._remember((side, name, value))
            made[index] = new_name, new
        return tuple(made)

    def _header_name(self, name: bytes, path: str) -> bytes:
        """``name`` without the values in it, also behind a sign: X-Amz-Meta-jane-doe."""
        edits = list(self._scrubber.text(name, Context()))
        for sign in _SIGN.finditer(name):
            edits += [edit.moved(sign.end()) for edit in self._scrubber.text(name[sign.end() :], Context())]
        return self._made(name, without_overlaps(edits), f"{path}.{{name}}")

    def _authority(self, value: bytes) -> bytes:
        """The host of a request, and before an at sign user name and password."""
        slashes = b"//" if b"@" in value else b""
        return self._field(slashes + value, Context(key="host"), "request.authority").removeprefix(slashes)

    def _header(
        self, lower_name: bytes, value: bytes, secrets: list[SecretSpan], header_path: str, side: str
    ) -> bytes:
        if not value or self._policy.keeps(header_path):
            return value
        if lower_name in _UNTOUCHED:
            return self._protocol(value, header_path)
        if lower_name == b"content-type":
            return self._content_type(value, header_path, side)
        if lower_name.endswith(b"-bin") and not secrets:
            return b",".join(self._binary(part, header_path) for part in value.split(b","))
        edits: list[Edit] = []
        for secret in secrets:
            inner = value[secret.start : secret.stop]
            context = Context(key="username") if secret.user else Context(credential=True)
            found = (self._basic(inner) if secret.basic else None) or self._scrubber.text(inner, context)
            edits += [edit.moved(secret.start) for edit in found]
        key = "" if secrets else normal_key(lower_name.removeprefix(b"x-"))
        edits = without_overlaps(edits + self._scrubber.text(value, Context(key=key)))
        return self._made(value, edits, header_path)

    def _protocol(self, value: bytes, path: str) -> bytes:
        """``value`` without what has a shape; names that are words of the protocol stay."""
        edits = [edit for edit in self._scrubber.text(value, Context()) if edit.label not in _WORDS]
        self._count(path, edits)
        return self._made(value, edits, "", count=False)

    def _content_type(self, value: bytes, path: str, side: str) -> bytes:
        """The parameters of a Content-Type; a boundary becomes what it became in the body."""
        edits = [
            edit
            for edit in self._scrubber.text(value, Context())
            if edit.start > value.find(b";") >= 0
            and b"charset" not in value[edit.start - 10 : edit.start].lower()
        ]
        mark = multipart.boundary(value)
        if mark is not None:
            start = value.index(mark, value.index(b";"))
            edits = [edit for edit in edits if edit.stop <= start or edit.start >= start + len(mark)]
            if not self._policy.keeps(f"{side}.body"):
                edits.append(Edit(start, start + len(mark), self._bodies.boundary(mark)))
        return self._made(value, sorted(edits), path)

    def _binary(self, value: bytes, path: str) -> bytes:
        """Metadata of gRPC: base64, with or without its padding, of text, of a message or of bytes."""
        stripped = value.strip()
        try:
            data = base64.b64decode(stripped + b"=" * (-len(stripped) % 4), validate=True)
        except binascii.Error:
            return self._bodies.blank(value, path)
        new = self._bodies.message(data, path)
        if new == data:
            return value
        written = base64.b64encode(new)
        return written if stripped.endswith(b"=") or len(stripped) % 4 == 0 else written.rstrip(b"=")

    def _basic(self, encoded: bytes) -> list[Edit] | None:
        """The edit of Basic credentials (RFC 7617): user name and password one by one."""
        try:
            plain = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return None
        user, colon, password = plain.partition(b":")
        if not colon:
            return None
        new = b":".join(
            self._made(part, self._scrubber.text(part, context), "", count=False) if part else part
            for part, context in ((user, Context(key="username")), (password, Context(credential=True)))
        )
        return [Edit(0, len(encoded), base64.b64encode(new), "credential")]


def _body_facts(headers: Headers) -> _BodyFacts:
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        lower_name = name.lower()
        if lower_name in _FACTS:
            found.setdefault(lower_name, []).append(value)
    of_messages = found.get(b"grpc-encoding") or found.get(b"connect-content-encoding") or [b""]
    return _BodyFacts(
        found.get(b"content-type", [b""])[0],
        b",".join(found.get(b"content-encoding", ())),
        of_messages[0],
    )
