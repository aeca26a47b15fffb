"""Whole exchanges and messages: every field they have, and the headers that depend on a body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections import Counter
from dataclasses import replace

from anonymizer.body_scrubber import BodyScrubber
from anonymizer.detectors import credentials
from anonymizer.detectors.base import Context, normal_key
from anonymizer.detectors.credentials import SecretSpan
from anonymizer.fields import Fields
from anonymizer.policy import Policy
from anonymizer.report import Report
from anonymizer.scrubber import Scrubber
from anonymizer.shared_counts import SharedCounts
from captures.bodies import percent
from captures.bodies.edits import Edit, splice, without_overlaps
from captures.bodies.url import split_target
from captures.endpoints import shape_label
from captures.model import Exchange, Failure, Headers, Message, MessageKind, Request, Response
from captures.signatures import SIGNATURE_HEADERS, blank_signature, recognise

# Names of framing and negotiation: their values are protocol words, and bodies are read by them.
_UNTOUCHED = frozenset(
    {
        b"content-length", b"content-type", b"content-encoding", b"transfer-encoding", b"connection",
        b"accept", b"accept-encoding", b"accept-language", b"date", b"upgrade", b"te", b"trailer",
        b"sec-websocket-key", b"sec-websocket-accept", b"sec-websocket-version",
    }
)  # fmt: skip
_DIGEST_PART = re.compile(rb"(sha-256|sha-512|sha|md5)=(:?)([A-Za-z0-9+/=]+)(:?)", re.IGNORECASE)
_DIGEST_HEADERS = frozenset({b"digest", b"content-digest", b"repr-digest"})
_HASHES = {b"sha-256": "sha256", b"sha-512": "sha512", b"sha": "sha1", b"md5": "md5"}


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
            self._endpoint = self._report.endpoint(shape_label(request.method, target))
            if self._fields is not None:
                self._fields.show(self._endpoint)
            self._target(request.target, count=True)
        new_request = self._request(request, target)
        signing = exchange.signing or recognise(request.headers)
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
        return replace(exchange, request=new_request, outcome=new_outcome, signing=signing)

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

    def _request(self, request: Request, target: bytes) -> Request:
        content_type, encoding = _body_headers(request.headers)
        body = self._bodies.body(
            request.body,
            content_type=content_type,
            content_encoding=encoding,
            path="request.body",
            cut=request.truncated_bytes > 0,
        )
        headers = self._headers(request.headers, "request.header")
        return replace(
            request,
            authority=self._field(request.authority, Context(key="host"), "request.authority"),
            target=target,
            headers=_recomputed(headers, request.body, body),
            body=body,
            trailers=self._headers(request.trailers, "request.trailer"),
        )

    def _response(self, response: Response) -> Response:
        content_type, encoding = _body_headers(response.headers)
        body = self._bodies.body(
            response.body,
            content_type=content_type,
            content_encoding=encoding,
            path="response.body",
            cut=response.truncated_bytes > 0,
        )
        headers = self._headers(response.headers, "response.header")
        return replace(
            response,
            reason=self._field(response.reason, Context(), "response.reason"),
            headers=_recomputed(headers, response.body, body),
            body=body,
            trailers=self._headers(response.trailers, "response.trailer"),
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

    def _target(self, target: bytes, *, count: bool = False) -> bytes:
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
        return self._made(target, edits, "", count=False)

    def _headers(self, headers: Headers, path: str) -> Headers:
        secrets: dict[int, list[SecretSpan]] = {}
        for span in credentials.find(headers):
            secrets.setdefault(span.header, []).append(span)
        return tuple(
            (name, self._header(name, value, secrets.get(index, []), path))
            for index, (name, value) in enumerate(headers)
        )

    def _header(self, name: bytes, value: bytes, secrets: list[SecretSpan], path: str) -> bytes:
        lower_name = name.lower()
        if lower_name in SIGNATURE_HEADERS:
            return blank_signature(value)
        header_path = f"{path}.{lower_name.decode('latin-1')}"
        if lower_name in _UNTOUCHED or not value or self._policy.keeps(header_path):
            return value
        edits: list[Edit] = []
        for secret in secrets:
            inner = value[secret.start : secret.stop]
            context = Context(key="username") if secret.user else Context(credential=True)
            found = (self._basic(inner) if secret.basic else None) or self._scrubber.text(inner, context)
            edits += [edit.moved(secret.start) for edit in found]
        key = "" if secrets else normal_key(lower_name.removeprefix(b"x-"))
        edits = without_overlaps(edits + self._scrubber.text(value, Context(key=key)))
        return self._made(value, edits, header_path)

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


def _body_headers(headers: Headers) -> tuple[bytes, bytes]:
    """Content-Type and Content-Encoding; several of the latter are joined."""
    content_type, encodings = b"", []
    for name, value in headers:
        lower_name = name.lower()
        if lower_name == b"content-type":
            content_type = content_type or value
        elif lower_name == b"content-encoding":
            encodings.append(value)
    return content_type, b",".join(encodings)


def _recomputed(headers: Headers, old_body: bytes, body: bytes) -> Headers:
    """``headers`` with length and digests of ``body`` where they state those of ``old_body``."""
    if body == old_body:
        return headers
    return tuple((name, _dependant(name.lower(), value, old_body, body)) for name, value in headers)


def _dependant(lower_name: bytes, value: bytes, old_body: bytes, body: bytes) -> bytes:
    if lower_name == b"content-length" and value.strip().isdigit():
        # a difference, since a truncated body is shorter than its header says
        return b"%d" % max(0, int(value) + len(body) - len(old_body))
    if lower_name == b"content-md5":
        return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest())
    if lower_name == b"x-amz-content-sha256" and len(value.strip()) == 64:
        return hashlib.sha256(body).hexdigest().encode()
    if lower_name in _DIGEST_HEADERS:
        return _DIGEST_PART.sub(lambda match: _digest(match, body), value)
    return value


def _digest(match: re.Match[bytes], body: bytes) -> bytes:
    digest = hashlib.new(_HASHES[match[1].lower()], body, usedforsecurity=False).digest()
    return b"%b=%b%b%b" % (match[1], match[2], base64.b64encode(digest), match[4])
