"""
Known shapes of sensitive values, by tables of the audit's own.

Only shapes that chance hardly makes: a checksum, a prefix that an issuer chose, a delimiter.
What standards set aside for documentation and tests is left out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ahocorasick_rs import BytesAhoCorasick

from anonymizer.audit_reserved import (
    is_fictional_phone,
    is_reserved_address,
    is_reserved_domain,
    is_test_card,
)

_LOCAL_TLDS = frozenset({b"test", b"invalid", b"localhost", b"local", b"internal", b"example"})
_FILE_TYPES = frozenset({b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"js", b"json", b"md"})
_ROBOTS = re.compile(
    rb"(?:.*\+)?(?:no-?reply|do-?not-?reply|mailer-daemon|postmaster|bounces?|notifications?|git|.*\[bot\])",
    re.IGNORECASE,
)
_IBAN_LENGTHS = {
    b"AD": 24, b"AE": 23, b"AL": 28, b"AT": 20, b"AZ": 28, b"BA": 20, b"BE": 16, b"BG": 22, b"BH": 22,
    b"BR": 29, b"BY": 28, b"CH": 21, b"CR": 22, b"CY": 28, b"CZ": 24, b"DE": 22, b"DK": 18, b"DO": 28,
    b"EE": 20, b"EG": 29, b"ES": 24, b"FI": 18, b"FO": 18, b"FR": 27, b"GB": 22, b"GE": 22, b"GI": 23,
    b"GL": 18, b"GR": 27, b"GT": 28, b"HR": 21, b"HU": 28, b"IE": 22, b"IL": 23, b"IQ": 23, b"IS": 26,
    b"IT": 27, b"JO": 30, b"KW": 30, b"KZ": 20, b"LB": 28, b"LC": 32, b"LI": 21, b"LT": 20, b"LU": 20,
    b"LV": 21, b"MC": 27, b"MD": 24, b"ME": 22, b"MK": 19, b"MR": 27, b"MT": 31, b"MU": 30, b"NL": 18,
    b"NO": 15, b"PK": 24, b"PL": 28, b"PS": 29, b"PT": 25, b"QA": 29, b"RO": 24, b"RS": 22, b"SA": 24,
    b"SC": 31, b"SE": 24, b"SI": 19, b"SK": 24, b"SM": 27, b"TN": 24, b"TR": 26, b"UA": 29, b"VA": 22,
    b"VG": 24, b"XK": 20,
}  # fmt: skip
_CARD_NETWORKS = re.compile(
    rb"4\d{15}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}|6(?:011|5\d\d)\d{12}|"
    rb"35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """
    One shape: a value is what ``pattern`` matches and ``accepts`` takes for real.

    ``hints`` are literals of which one stands at the start of every value, or behind ``lead`` if
    there is one, which has at most ``lead_bytes``. ``kind`` is the name that a
    policy has for such values. ``outline_hints`` are hints in the text with every digit made a 9
    and every capital an A, ``hex_hints`` those in the text with every hex digit made an f.
    """

    name: str
    kind: str
    pattern: re.Pattern[bytes]
    hints: tuple[bytes, ...] = ()
    outline_hints: tuple[bytes, ...] = ()
    hex_hints: tuple[bytes, ...] = ()
    lead: re.Pattern[bytes] | None = None
    lead_bytes: int = 64
    accepts: Callable[[bytes], bool] = field(default=lambda _value: True)


def _digits(value: bytes) -> bytes:
    return bytes(byte for byte in value if 48 <= byte <= 57)


def _luhn(digits: bytes) -> bool:
    total = 0
    for place, byte in enumerate(reversed(digits)):
        digit = (byte - 48) * (1 + place % 2)
        total += digit - 9 if digit > 9 else digit
    return total % 10 == 0


def _real_email(value: bytes) -> bool:
    local, _, domain = value.rpartition(b"@")
    last = domain.rpartition(b".")[2].lower()
    if is_reserved_domain(domain) or last in _LOCAL_TLDS or last in _FILE_TYPES:
        return False
    return _ROBOTS.fullmatch(local) is None


def _real_card(value: bytes) -> bool:
    digits = _digits(value)
    return bool(_CARD_NETWORKS.fullmatch(digits)) and _luhn(digits) and not is_test_card(digits)


def _real_iban(value: bytes) -> bool:
    text = value.replace(b" ", b"")
    if _IBAN_LENGTHS.get(text[:2]) != len(text):
        return False
    return int("".join(str(int(chr(byte), 36)) for byte in text[4:] + text[:4])) % 97 == 1


def _real_phone(value: bytes) -> bool:
    digits = _digits(value)
    if digits.startswith(b"1"):
        return re.fullmatch(rb"1[2-9]\d\d[2-9]\d{6}", digits) is not None and not is_fictional_phone(digits)
    return 9 <= len(digits) <= 15


def _real_address(value: bytes) -> bool:
    try:
        address = ipaddress.ip_address(value.decode("ascii"))
    except ValueError:
        return False
    return address.is_global and not address.is_multicast and not is_reserved_address(value)


def _real_ssn(value: bytes) -> bool:
    return value not in {b"078-05-1120", b"219-09-9999", b"123-45-6789"}  # printed on samples


def _token(name: str, pattern: bytes, *hints: bytes) -> Shape:
    return Shape(
        name=name,
        kind="token",
        pattern=re.compile(rb"(?<![A-Za-z0-9_-])(?:" + pattern + rb")(?![A-Za-z0-9])"),
        hints=hints,
    )


SHAPES: tuple[Shape, ...] = (
    Shape(
        name="e-mail address",
        kind="email",
        pattern=re.compile(
            rb"(?<![A-Za-z0-9._%+'-])[A-Za-z0-9._%+'\[\]-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,24}"
            rb"(?![A-Za-z]|:[A-Za-z~/])"  # git@host:path is no address
        ),
        hints=(b"@",),
        lead=re.compile(rb"[A-Za-z0-9._%+'\[\]-]{1,64}\Z"),
        accepts=_real_email,
    ),
    Shape(
        name="card number",
        kind="card",
        pattern=re.compile(rb"(?<![\w.+-])\d{4}[ -]?\d{4,6}[ -]?\d{4,5}(?:[ -]?\d{1,4})?(?![\w-]|\.\d)"),
        outline_hints=(b"9999999999999", b"9999 9999", b"9999-9999"),
        accepts=_real_card,
    ),
    Shape(
        name="IBAN",
        kind="iban",
        pattern=re.compile(rb"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])"),
        outline_hints=(b"AA99",),
        accepts=_real_iban,
    ),
    Shape(
        name="phone number",
        kind="phone",
        pattern=re.compile(rb"(?<![\w+/=.-])\+[1-9](?:[ .()-]{0,2}\d){7,14}(?![\w+/=]|\.\d)"),
        hints=(b"+",),
        accepts=_real_phone,
    ),
    Shape(
        name="IP address",
        kind="ip",
        pattern=re.compile(rb"(?<![\w./-])\d{1,3}(?:\.\d{1,3}){3}(?![\w/-]|\.\d)"),
        outline_hints=(b"9.9",),
        lead=re.compile(rb"\d{1,2}\Z"),
        accepts=_real_address,
    ),
    Shape(
        name="IPv6 address",
        kind="ip",
        pattern=re.compile(rb"(?<![\w:.])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{3,35}(?![\w:])"),
        hex_hints=(b"ffff:",),
        accepts=_real_address,
    ),
    Shape(
        name="US social security number",
        kind="national_id",
        pattern=re.compile(rb"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])"),
        outline_hints=(b"999-99-9999",),
        accepts=_real_ssn,
    ),
    Shape(
        name="private key",
        kind="token",
        pattern=re.compile(rb"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY-----[^-\"<]{40,8000}"),
        hints=(b"-----BEGIN ",),
    ),
    Shape(
        name="JWT",
        kind="jwt",
        pattern=re.compile(
            rb"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"
        ),
        hints=(b"eyJ",),
    ),
    _token("GitHub token", rb"gh[pousr]_[A-Za-z0-9]{36,}", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"),
    _token("GitHub token", rb"github_pat_\w{40,}", b"github_pat_"),
    _token(
        "GitLab token", rb"gl(?:pat|dt|rt|cbt|ptt|ft)-[\w-]{20,}", b"glpat-", b"gldt-", b"glrt-", b"glptt-"
    ),
    _token("Stripe key", rb"[srp]k_live_[A-Za-z0-9]{16,}", b"sk_live_", b"rk_live_", b"pk_live_"),
    _token("Stripe key", rb"sk_test_[A-Za-z0-9]{16,}", b"sk_test_"),
    _token("webhook secret", rb"whsec_[A-Za-z0-9+/=]{16,}", b"whsec_"),
    _token("Slack token", rb"xox[abeoprs]-[A-Za-z0-9-]{10,}", b"xox"),
    _token("AWS access key id", rb"(?:AKIA|ASIA)[A-Z2-7]{16}", b"AKIA", b"ASIA"),
    _token("Google API key", rb"AIza[\w-]{35}", b"AIza"),
    _token("Google OAuth token", rb"ya29\.[\w-]{20,}", b"ya29."),
    _token("SendGrid key", rb"SG\.[\w-]{20,}\.[\w-]{30,}", b"SG."),
    _token("npm token", rb"npm_[A-Za-z0-9]{36}", b"npm_"),
    _token("PyPI token", rb"pypi-AgE[\w-]{50,}", b"pypi-AgE"),
    _token("Docker token", rb"dckr_pat_[\w-]{20,}", b"dckr_pat_"),
    _token(
        "Shopify token", rb"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}", b"shpat_", b"shpca_", b"shppa_", b"shpss_"
    ),
    _token("Hugging Face token", rb"hf_[A-Za-z]{30,}", b"hf_"),
    _token("Anthropic key", rb"sk-ant-[\w-]{20,}", b"sk-ant-"),
    _token("OpenAI key", rb"sk-(?:proj|svcacct|admin)-[\w-]{20,}", b"sk-proj-", b"sk-svcacct-", b"sk-admin-"),
    _token("DigitalOcean token", rb"do[opr]_v1_[0-9a-f]{64}", b"dop_v1_", b"doo_v1_", b"dor_v1_"),
    _token("Twilio key", rb"SK[0-9a-f]{32}", b"SK"),
    Shape(
        name="Slack webhook",
        kind="token",
        pattern=re.compile(rb"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/]{20,}"),
        hints=(b"hooks.slack.com/",),
    ),
    Shape(
        name="password in a URL",
        kind="credential",
        pattern=re.compile(rb"(?<=://)[^\s/:@\"'<>{}]{1,64}:[^\s/@\"'<>{}]{6,128}(?=@[A-Za-z0-9\[])"),
        hints=(b"@",),  # which few URLs have
        lead=re.compile(rb"(?<=://)[^\s/:@\"'<>{}]{1,64}:[^\s/@\"'<>{}]{6,128}\Z"),
        lead_bytes=200,
    ),
)

CREDENTIAL = Shape(name="credential", kind="credential", pattern=re.compile(rb""))
"""What the header fields of ``CREDENTIAL_HEADERS`` hold, whatever its shape."""

CREDENTIAL_HEADERS = frozenset(
    f"request header {name}"
    for name in (
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "x-auth-token",
        "x-access-token",
    )
)

_OUTLINE = bytes.maketrans(b"012345678BCDEFGHIJKLMNOPQRSTUVWXYZ", b"9" * 9 + b"A" * 25)
_HEX_OUTLINE = bytes.maketrans(b"0123456789abcdeABCDEF", b"f" * 21)


class _Hints:
    """Hints that are looked for in a text of which ``outline`` gives a simpler copy."""

    def __init__(self, hints: Callable[[Shape], tuple[bytes, ...]], outline: bytes | None) -> None:
        table = [(hint, shape) for shape in SHAPES for hint in hints(shape)]
        self._shapes = [shape for _, shape in table]
        self._engine = BytesAhoCorasick([hint for hint, _ in table])
        self._outline = outline

    def candidates(self, text: bytes) -> Iterator[tuple[Shape, re.Match[bytes] | None]]:
        where = text if self._outline is None else text.translate(self._outline)
        for number, start, _ in self._engine.find_matches_as_indexes(where, overlapping=True):
            shape = self._shapes[number]
            yield shape, shape.pattern.match(text, _value_start(shape, text, start))


_ALL_HINTS = (
    _Hints(lambda shape: shape.hints, None),
    _Hints(lambda shape: shape.outline_hints, _OUTLINE),
    _Hints(lambda shape: shape.hex_hints, _HEX_OUTLINE),
)


def shaped_values(text: bytes) -> Iterator[tuple[Shape, bytes]]:
    """Every value of a known shape in ``text``."""
    for hints in _ALL_HINTS:
        for shape, match in hints.candidates(text):
            if match is not None and shape.accepts(match[0]):
                yield shape, match[0]


def _value_start(shape: Shape, text: bytes, start: int) -> int:
    lead = shape.lead.search(text[max(0, start - shape.lead_bytes) : start]) if shape.lead else None
    return start - len(lead[0]) if lead else start
