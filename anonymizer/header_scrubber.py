"""Headers and other short fields around a body: names, credentials, types, signatures, metadata."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace

from anonymizer.body_scrubber import BodyScrubber
from anonymizer.detectors import credentials
from anonymizer.detectors.base import Context, Kind, normal_key
from anonymizer.detectors.credentials import SecretSpan
from anonymizer.document import passes
from anonymizer.fields import Fields
from anonymizer.policy import Policy
from anonymizer.protocol import PROTOCOL_HEADERS, is_framing, is_protocol
from anonymizer.scrubber import Scrubber
from anonymizer.tally import Tally, Unchanged
from captures.bodies import multipart
from captures.bodies.edits import Edit, splice, without_overlaps
from captures.credentials import API_KEY_HEADERS
from captures.model import Headers, SigningRecipe
from captures.signatures import SIGNATURE_HEADERS, blank_signature, is_signature

# Names that everybody sends: a value that is spelled like one (a user called "origin") leaves it alone.
_COMMON_NAMES = PROTOCOL_HEADERS | SIGNATURE_HEADERS | API_KEY_HEADERS | frozenset(
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
_SIGN = re.compile(rb"[-_.]")
_STAMP = re.compile(rb"(?<![0-9A-Za-z])\d{10}(?:\d{3})?(?![0-9A-Za-z])")  # of Stripe's t=
_BRACES = re.compile(rb"(\{[^}]*\})")  # of a template: {body} and the like
_CHARSET = re.compile(rb"charset=\"?\Z", re.IGNORECASE)


class HeaderScrubber:
    """Anonymizes headers and short fields; ``tally`` hears of each change, ``fields`` applies the rules."""

    def __init__(
        self, scrubber: Scrubber, policy: Policy, tally: Tally, bodies: BodyScrubber, fields: Fields | None
    ) -> None:
        self._scrubber = scrubber
        self._policy = policy
        self._tally = tally
        self._bodies = bodies
        self._fields = fields
        self._same = Unchanged()
        self._templates = {recipe.template for recipe in policy.signatures}
        named = {recipe.header.lower() for recipe in policy.signatures}
        self._common_names = _COMMON_NAMES | named  # by whoever wrote the policy

    def headers(self, headers: Headers, side: str, signing: SigningRecipe | None) -> Headers:
        """``headers`` of a ``side`` anonymized, without the signature that ``signing`` makes anew."""
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
            new_name = self._name(name, f"{side}.header")
            if is_signature(name, value, signing):
                made[index] = new_name, self._signature(value)
                continue
            path = f"{side}.header.{new_name.lower().decode('latin-1')}"
            found = secrets.get(index, [])
            if (
                lower_name == signed or lower_name in SIGNATURE_HEADERS
            ) and value:  # of no known shape, so all of it is a secret
                found = [SecretSpan(index, 0, len(value), basic=False)]
            new = self._header(lower_name, value, found, path, side)
            if (new_name, new) == (name, value) and not found and self._fields is None:
                self._same.add((side, name, value), len(value))
            made[index] = new_name, new
        return tuple(made)

    def field(self, value: bytes, context: Context, path: str) -> bytes:
        """A short text at ``path`` anonymized."""
        if not value or self._policy.keeps(path):
            return value
        return self.made(value, self._scrubber.text(value, context), path)

    def made(
        self, value: bytes, edits: list[Edit], path: str, *, count: bool = True, known: bool = False
    ) -> bytes:
        """
        ``value`` of the field at ``path`` with ``edits`` made as the rules have them, counted.

        ``known`` says that it is a word of the protocol, of which watchers need not hear.
        """
        if path and self._fields is not None:
            edits = self._fields.field(path, value, edits, whole=not is_framing(path), known=known)
        if count:
            self.count(path, edits)
        return value if self._scrubber.collecting or not edits else splice(value, edits)

    def count(self, path: str, edits: list[Edit]) -> None:
        """Tell the tally of ``edits`` in the field at ``path``."""
        for edit in edits:
            if edit.label:
                self._tally.replaced(path, edit.label, 1)

    def recipe(self, signing: SigningRecipe) -> SigningRecipe:
        """``signing`` with its header's name as it came out, and without values in its template."""
        name = self._name(signing.header, "")
        template = signing.template
        if template is None or template in self._templates:
            return signing if name == signing.header else replace(signing, header=name)
        scrubbed = replace(
            template,
            prefix=self._around_braces(template.prefix),
            signed=self._around_braces(template.signed),
            timestamp_header=self._name(template.timestamp_header, ""),
        )
        return replace(signing, header=name, template=scrubbed)

    def _around_braces(self, text: bytes) -> bytes:
        parts = _BRACES.split(text)
        parts[::2] = [self.protocol(part, "", count=False) for part in parts[::2]]
        return b"".join(parts)

    def _name(self, name: bytes, path: str) -> bytes:
        """``name`` without the values in it, also behind a sign: X-Amz-Meta-jane-doe."""
        if name.lower() in self._common_names:
            return name
        edits = list(self._scrubber.text(name, Context()))
        for sign in _SIGN.finditer(name):
            edits += [edit.moved(sign.end()) for edit in self._scrubber.text(name[sign.end() :], Context())]
        return self.made(name, without_overlaps(edits), path and f"{path}.{{name}}", count=path != "")

    def authority(self, value: bytes) -> bytes:
        """The host of a request, and before an at sign user name and password."""
        slashes = b"//" if b"@" in value else b""
        return self.field(slashes + value, Context(key="host"), "request.authority").removeprefix(slashes)

    def _header(
        self, lower_name: bytes, value: bytes, secrets: list[SecretSpan], header_path: str, side: str
    ) -> bytes:
        if not value or self._policy.keeps(header_path):
            return value
        if lower_name in PROTOCOL_HEADERS:
            return self.protocol(value, header_path)
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
        if not secrets and self._passes(lower_name, value):
            return value
        key = "" if secrets else normal_key(lower_name.removeprefix(b"x-"))
        edits = without_overlaps(edits + self._scrubber.text(value, Context(key=key)))
        return self.made(value, edits, header_path)

    def _passes(self, lower_name: bytes, value: bytes) -> bool:
        """Whether ``value`` is a number, time or UUID that documents have at places that tell nothing too."""
        if self._fields is not None or not passes(value):
            return False
        if self._scrubber.tells((lower_name.removeprefix(b"x-"), b"", False)):
            return False
        whole = b'["%b"]' % value
        found = self._scrubber.document(whole)
        return found is not None and found[0] == whole

    def protocol(self, value: bytes, path: str, *, count: bool = True) -> bytes:
        """``value`` anonymized; where it is words of the protocol, one that is somebody's name stays."""
        if not value or self._policy.keeps(path):
            return value
        edits = self._scrubber.text(value, Context())
        known = (bool(edits) or self._fields is not None) and is_protocol(value)
        if known:
            edits = [edit for edit in edits if edit.label not in _WORDS]
        return self.made(value, edits, path, count=count, known=known)

    def _signature(self, value: bytes) -> bytes:
        """A signature blanked, and its time moved as other times are."""
        blank = blank_signature(value)
        edits = [
            edit.moved(stamp.start())
            for stamp in _STAMP.finditer(blank)
            for edit in self._scrubber.text(stamp[0], Context(key="timestamp"))
        ]
        return self.made(blank, edits, "", count=False)

    def _content_type(self, value: bytes, path: str, side: str) -> bytes:
        """A Content-Type without values; a boundary becomes what it became in the body."""
        head, _, _ = value.partition(b";")
        known = len(head) if is_protocol(head) else 0
        edits = [
            edit
            for edit in self._scrubber.text(value, Context())
            if edit.label not in _WORDS  # types and charsets are words of the protocol
            or (edit.start >= known and not _CHARSET.search(value[: edit.start]))
        ]
        mark = multipart.boundary(value)
        if mark is not None:
            start = value.index(mark, value.index(b";"))
            edits = [edit for edit in edits if edit.stop <= start or edit.start >= start + len(mark)]
            if not self._policy.keeps(f"{side}.body"):
                edits.append(Edit(start, start + len(mark), self._bodies.boundary(mark)))
        return self.made(value, sorted(edits), path)

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
            self.made(part, self._scrubber.text(part, context), "", count=False) if part else part
            for part, context in ((user, Context(key="username")), (password, Context(credential=True)))
        )
        return [Edit(0, len(encoded), base64.b64encode(new), "credential")]
