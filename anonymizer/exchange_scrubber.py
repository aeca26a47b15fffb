"""Whole exchanges and messages: every field they have, and the headers that depend on a body."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

from anonymizer.body_scrubber import BodyScrubber
from anonymizer.dependants import refitted, refitted_target, tags_of_bodies
from anonymizer.detectors.base import Context
from anonymizer.fields import Fields
from anonymizer.header_scrubber import HeaderScrubber
from anonymizer.policy import Policy
from anonymizer.report import Report
from anonymizer.scrubber import Scrubber
from anonymizer.shared_counts import SharedCounts
from anonymizer.tally import Unchanged
from captures.bodies import percent
from captures.bodies.edits import Edit
from captures.bodies.url import split_target
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
from captures.signatures import recognise

_FACTS = frozenset({b"content-type", b"content-encoding", b"grpc-encoding", b"connect-content-encoding"})
_MAX_LABELS = 16_384
_MAX_LABEL_BYTES = 1_024


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
        self._headers = HeaderScrubber(scrubber, policy, self, self._bodies, fields)
        self._endpoint = ""
        self._streams: dict[int, str] = {}
        self._shared = SharedCounts()
        self._same = Unchanged()
        self._changes = 0
        self._labels: dict[tuple[bytes, bytes], str] = {}

    # -- the tally of bodies ---------------------------------------------------------------

    def replaced(self, path: str, kind: str, count: int) -> None:
        """Count values of ``kind`` for the field at ``path``."""
        self._changes += 1
        if not self._scrubber.collecting:
            self._report.replaced[kind, self._endpoint, path] += count

    def replaced_again(self, counts: Counter[tuple[str, str]]) -> None:
        """Count values as ``counts`` (by path and kind) says, which many bodies share."""
        if counts:
            self._changes += 1
            if not self._scrubber.collecting:
                self._shared.add(self._endpoint, counts, self._report)

    def settle(self) -> None:
        """Put all that was counted into the report."""
        self._shared.settle(self._report)

    def undecodable(self, path: str) -> None:
        """Count a body that could not be read."""
        self._changes += 1
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
            method = self._headers.protocol(request.method, "request.method", count=False)
            self._endpoint = self._label(method, target)
            if self._fields is not None:
                self._fields.show(method)
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
            detail = self._headers.field(outcome.detail.encode(), Context(), "failure.detail")
            new_outcome = replace(outcome, detail=detail.decode("utf-8", "replace"))
        if self._scrubber.collecting:
            if signing is not None:
                self._headers.recipe(signing)
            for tag in tags_of_bodies(exchange):
                self._scrubber.text(tag, Context(credential=True))
            return exchange
        recipe = signing and self._headers.recipe(signing)
        return replace(exchange, request=new_request, outcome=new_outcome, signing=recipe)

    def follow(self, exchange: Exchange) -> None:
        """Take note of ``exchange``, which another process scrubbed; its messages come here."""
        label = self._report.endpoint(shape_label(exchange.request.method, exchange.request.target))
        if isinstance(exchange.outcome, Response) and exchange.outcome.stream:
            self._streams[exchange.seq] = label

    def _label(self, method: bytes, target: bytes) -> str:
        known = self._labels.get((method, target))
        if known is None:
            known = self._report.endpoint(shape_label(method, target))
            if len(self._labels) < _MAX_LABELS and len(target) <= _MAX_LABEL_BYTES:
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
        return self._headers.field(source.encode(), Context(), "header.source").decode("utf-8", "replace")

    def sentence(self, text: str) -> str:
        """``text``, which hookreel wrote itself, anonymized."""
        return self._headers.protocol(text.encode(), "", count=False).decode("utf-8", "replace")

    # -- parts -----------------------------------------------------------------------------

    def _request(self, request: Request, target: bytes, signing: SigningRecipe | None) -> Request:
        facts = _body_facts(request.headers)
        old = request.body
        body = self._body(old, facts, "request.body", cut=request.truncated_bytes > 0)
        headers = self._headers.headers(request.headers, "request", signing)
        around = self._around(request)
        if self._scrubber.collecting:
            return request
        return replace(
            around,
            target=refitted_target(target, old, body),
            headers=refitted(headers, old, body, facts.content_encoding),
            body=body,
            trailers=refitted(around.trailers, old, body),
        )

    def _around(self, request: Request) -> Request:
        """``request`` with the words of its first line and its trailers anonymized."""
        words = (request.method, request.scheme, request.http_version, request.authority, request.trailers)
        if words in self._same:
            return request
        changes, headers = self._changes, self._headers
        new = replace(
            request,
            method=headers.protocol(request.method, "request.method"),
            scheme=headers.protocol(request.scheme, "request.scheme"),
            http_version=headers.protocol(request.http_version, "request.http_version"),
            authority=headers.authority(request.authority),
            trailers=headers.headers(request.trailers, "request", None),
        )
        if new == request and changes == self._changes and self._fields is None:
            self._same.add(words, sum(map(len, words[:4])))
        return new

    def _response(self, response: Response) -> Response:
        whole = (
            response.reason,
            response.http_version,
            response.headers,
            response.body,
            response.trailers,
            response.truncated_bytes > 0,
        )
        if whole in self._same:
            return response
        facts = _body_facts(response.headers)
        changes, headers, old = self._changes, self._headers, response.body
        body = self._body(old, facts, "response.body", cut=response.truncated_bytes > 0)
        new_headers = headers.headers(response.headers, "response", None)
        trailers = headers.headers(response.trailers, "response", None)
        new = replace(
            response,
            reason=headers.field(response.reason, Context(), "response.reason"),
            http_version=headers.protocol(response.http_version, "response.http_version"),
            headers=refitted(new_headers, old, body, facts.content_encoding),
            body=body,
            trailers=refitted(trailers, old, body),
        )
        if new == response and changes == self._changes and self._fields is None:
            self._same.add(whole, len(old) + sum(len(name) + len(value) for name, value in response.headers))
        return new

    def _body(self, body: bytes, facts: _BodyFacts, path: str, *, cut: bool) -> bytes:
        return self._bodies.body(
            body,
            content_type=facts.content_type,
            content_encoding=facts.content_encoding,
            message_coding=facts.message_coding,
            path=path,
            cut=cut,
        )

    def _target(self, target: bytes, *, count: bool = False) -> bytes:
        if target in self._same:
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
                self._headers.count("request.path", edits)
        for start, stop in ((parts.query_start, parts.query_stop), (parts.fragment_start, len(target))):
            edits += self._bodies.query(target, start, stop, "request.query", count=count)
        new = self._headers.made(target, edits, "", count=False)
        if self._fields is None and (not edits or self._scrubber.collecting):
            self._same.add(target, len(target))
        return new


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
