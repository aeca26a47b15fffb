"""Tokens and API keys: by the prefixes their issuers publish, and by the key they stand under."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from anonymizer.detectors import emails, secrets
from anonymizer.detectors.base import Context, Finding, Kind, normal_key

PREFIXES = re.compile(
    rb"gh[pousr]_|github_pat_|gl[a-z]{2,6}-|glc_|glsa_|GR1348941|(?:sk|pk|rk)_(?:live|test|prod)_|whsec_|"
    rb"xoxe\.xox[bp]-|xox[abeoprs]-|xapp-\d-|AKIA|ASIA|ABIA|ACCA|ABSK|LTAI|AIza|ya29\.|npm_|pypi-AgEI|pypi-|SG\.|"
    rb"do[opr]_v1_|shp(?:at|ca|pa|ss)_|shippo_(?:live|test)_|sbp_|sk-ant-(?:api|admin)\d\d-|sk-ant-|"
    rb"sk-(?:proj|svcacct|admin)-|sk-|sq0[a-z]{3}-|sq[upa]_|EAAA|EAA[MC]|key-|dp\.pt\.|hf_|api_org_|lin_api_|rpa_|pat-|"
    rb"PMAK-|NRAK-|NRII-|NRJS-|hvs\.|hvb\.|tfp_|A3-|ops_|p8e-|AGE-SECRET-KEY-1|AKCp|cmVmd|dapi|duffel_(?:live|test)_|"
    rb"dt0c01\.|EZ[AT]K|FLW(?:SEC|PUB)K_TEST-|f[om][12][ar]?_|fio-u-|HRKU-AA|ico-|ntn_|API-|sha256~|pplx-|pnu_|pul-|"
    rb"pscale_(?:tkn|oauth|pw)_|rdme_|rubygems_|tk-us-|xkeysib-|sntry[su]_|sm_[aps]at_|sgp_|CLOJARS_|(?:live|test)_|"
    rb"dckr_pat_|gsk_|figd_|r8_|ATATT3|SK|AC|v[0-9]+_live_"
)
"""Beginnings that tell whose token it is; a stand-in keeps them."""

_KNOWN = re.compile(
    rb"(?<![A-Za-z0-9])(?:"
    rb"gh[pousr]_[A-Za-z0-9]{16,255}|github_pat_[A-Za-z0-9_]{20,255}"
    rb"|glpat-[A-Za-z0-9_.-]{20,}"
    rb"|(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{8,255}|whsec_[A-Za-z0-9+/=]{16,}"
    rb"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{10,}"
    rb"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}"
    rb"|npm_[A-Za-z0-9]{36}|pypi-AgEI[A-Za-z0-9_-]{50,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
    rb"|do[opr]_v1_[a-f0-9]{64}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|sbp_[a-f0-9]{40}"
    rb"|sk-(?:ant-|proj-)?[A-Za-z0-9_-]{20,}|sq0[a-z]{3}-[A-Za-z0-9_-]{22,}|hf_[A-Za-z0-9]{30,}"
    rb"|key-[a-f0-9]{32}|SK[a-f0-9]{32}|hvs\.[A-Za-z0-9_-]{24,}|lin_api_[A-Za-z0-9]{32,}"
    rb"|\d{8,10}:AA[A-Za-z0-9_-]{30,36}"  # Telegram
    rb"|ATATT3[A-Za-z0-9_=-]{40,}|dckr_pat_[A-Za-z0-9_-]{20,}|rubygems_[a-f0-9]{48}|gsk_[A-Za-z0-9]{40,}"
    rb"|glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}|ntn_[A-Za-z0-9]{40,}|figd_[A-Za-z0-9_-]{40,}|r8_[A-Za-z0-9]{37}"
    rb")(?![A-Za-z0-9])"
)
_PREFIX_HINT = re.compile(
    rb"gh[pousr]_|github_pat_|glpat-|_live_|_test_|whsec_|xox|xapp-|AKIA|ASIA|ABIA|ACCA|AIza|ya29|npm_|pypi-|SG\.|"
    rb"_v1_|shp|sbp_|sk-|sq0|hf_|key-|SK|hvs\.|lin_api_|:AA|ATATT3|_pat_|rubygems_|gsk_|glsa_|ntn_|figd_|r8_"
)
HINT_BY_SHAPE = rb"earer|PRIVATE KEY|hook|" + _PREFIX_HINT.pattern
"""Found in every text that holds a token by its own shape."""

HINT = re.compile(rb"[A-Za-z0-9_.-]{3}=[^\s;,&\"'<>%]{4}|" + HINT_BY_SHAPE)
"""Found in every text that holds a token without a telling key, save for those that ``secrets`` finds."""

_PRIVATE_KEY = re.compile(
    rb"-----BEGIN ([A-Z ]{0,20})PRIVATE KEY(?: BLOCK)?-----([A-Za-z0-9+/=\s\\:,.-]+?)(?=-----END )", re.DOTALL
)
# Amazon's secret keys have no beginning of their own; beside a key id 40 such characters are one.
_AWS_SECRET = re.compile(
    rb"(?<![A-Za-z0-9/+=])(?=[a-z0-9/+]*[A-Z])(?=[A-Z0-9/+]*[a-z])(?=[A-Za-z/+]*[0-9])"
    rb"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
)
_BEARER = re.compile(rb"\b[Bb]earer[ +]([A-Za-z0-9._~+/-]{12,}=*)")
_HOOK_URL = re.compile(
    rb"hooks\.slack\.com/(?:services|workflows|triggers|commands|actions|app)/([A-Za-z0-9_/-]{12,})"
    rb"|[a-z0-9-]+\.webhook\.office\.com/webhookb2/([A-Za-z0-9@/-]{20,})"
    rb"|discord(?:app)?\.com/api/(?:v\d+/)?webhooks/\d+/([A-Za-z0-9_-]{20,})"
)
# password=..., AccountKey=... and the like in settings and logs
_ASSIGNED = re.compile(
    rb"(?<![A-Za-z0-9_?&%-])([A-Za-z_][A-Za-z0-9_.-]{2,40})=([^\s;,&\"'<>%]{4,512}+)(?![^\s;,&\"'<>])"
)
_KEY = re.compile(
    r"(?:^|_)(?:access_?token|refresh_?token|id_token|auth_?token|csrf_?token|xsrf_?token|session_?token|token|"
    r"secret|client_?secret|secret_?key|password|passwd|passphrase|pwd|pass|passcode|api_?key|apikey|access_?key|"
    r"access_?key_id|private_?key|signing_?key|encryption_?key|credential|credentials|authorization|"
    r"(?:gitlab_)?session|session_?key|session_?id|sessionid|connect_sid|auth|otp|totp|mfa_code|recovery_code|cvc|cvv|"
    r"amz_signature|amz_credential|amz_security_token|signature|sig|hmac|hmac_sha256|bearer|jwt|assertion|"
    r"code_verifier|oauth_verifier|nonce_token|webhook_secret|hook_secret|verification_token|"
    r"(?:password|passwd|pwd|pass)_(?:confirm|confirmation|again|repeat|verify|old|new|current)|"
    r"security_answer|secret_answer|csrf|xsrf|csrf_?middleware_?token|cookies?|"
    r"account_?key|shared_?access_?(?:key|signature)|storage_?key|master_?key|license_?key)(?:_\d)?$"
    r"|^sid$"  # message_sid and the like are plain identifiers
)
# Numbers that banks give; with spaces and other signs between groups.
_NUMBER_KEY = re.compile(
    r"(?:^|_)(?:iban|bban|bank_?(?:account|number)|account_?(?:number|no)|routing_?number|sort_?code)$"
)
_NUMBER = re.compile(rb"(?=[^0-9]*[0-9])[A-Za-z0-9][A-Za-z0-9 ./-]{3,38}[A-Za-z0-9]")
_SHORT_KEY = re.compile(r"(?:^|_)(?:otp|totp|cvc|cvv|pin)$")
_SHORT = re.compile(rb"[^\s]{3,10}|(?=[^0-9]*[0-9])[^\s]{3,32}")
_SPACES_TOO = (
    "password",
    "passphrase",
    "passwd",
    "pwd",
    "pass",
    "answer",
    "cookie",
    "cookies",
    "confirmation",
)
_NOTHING = rb"[*x\xe2\x80\xa2.]+|true|false|null|none|\[?(?:redacted|filtered|masked|hidden)\]?"
_NO_PASSWORD = re.compile(_NOTHING, re.IGNORECASE)
_NOT_SECRET = re.compile(_NOTHING + rb"|[A-Z_]{1,15}|-----BEGIN PGP.*", re.IGNORECASE | re.DOTALL)
_AWS_SCOPE = re.compile(rb"[A-Z0-9]{16,128}/\d{8}/[a-z0-9-]+/[a-z0-9-]+/aws4_request")
# code and state are also words for errors and progress; in OAuth (RFC 6749) their values are random
_OAUTH_KEY = re.compile(r"^(?:code|state|nonce|auth_code|authorization_code|device_code)$")
_OAUTH_VALUE = re.compile(
    rb"(?=[^0-9]*[0-9])(?=[^a-z]*[a-z])(?:[A-Za-z0-9._~/+=-]{16,512}|(?=[^A-Z]*[A-Z])[A-Za-z0-9_-]{10,15})"
)
_SEPARATE = re.compile(
    r"(?:^|_)(?:type|url|uri|endpoint|expires?|expires_in|at|count|limit|name|scope|status)$"
)


def key_tells(key: str) -> bool:
    """Whether what stands under ``key`` may be a secret for that alone."""
    return any(pattern.search(key) for pattern in (_KEY, _SHORT_KEY, _NUMBER_KEY, _OAUTH_KEY))


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """Every token in ``text``, and all of ``text`` where its key says that it is a secret."""
    if context.credential and _is_address(text):
        return  # an address in a cookie is that address
    if context.credential or _is_secret_field(text, context):
        yield Finding(Kind.CREDENTIAL if context.credential else Kind.TOKEN, 0, len(text))
        return
    if len(text) < 12 or context.number:
        return
    taken: list[Finding] = []
    for finding in (*secrets.find(text, context), *_others(text)):
        if all(finding.stop <= other.start or finding.start >= other.stop for other in taken):
            taken.append(finding)
            yield finding


def _others(text: bytes) -> Iterator[Finding]:
    """What the published families lack or state more narrowly."""
    if _PREFIX_HINT.search(text):
        for match in _KNOWN.finditer(text):
            yield Finding(Kind.TOKEN, *match.span())
    if b"AKIA" in text or b"ASIA" in text:
        for match in _AWS_SECRET.finditer(text):
            yield Finding(Kind.TOKEN, *match.span())
    if b"earer" in text:
        for match in _BEARER.finditer(text):
            yield Finding(Kind.TOKEN, *match.span(1))
    if b"PRIVATE KEY" in text:
        for match in _PRIVATE_KEY.finditer(text):
            yield Finding(Kind.TOKEN, *match.span(2))
    if b"hook" in text:
        for match in _HOOK_URL.finditer(text):
            yield Finding(Kind.TOKEN, *match.span(match.lastindex or 0))
    if b"=" in text:
        yield from _assigned(text)


def _assigned(text: bytes) -> Iterator[Finding]:
    for match in _ASSIGNED.finditer(text):
        if _is_secret_field(match[2], Context(key=normal_key(match[1]))):
            yield Finding(Kind.TOKEN, *match.span(2))


def _is_address(text: bytes) -> bool:
    if b"@" not in text and b"%40" not in text:
        return False
    plain = unquote_to_bytes(text)
    return Finding(Kind.EMAIL, 0, len(plain)) in emails.find(plain, Context())


def _is_secret_field(text: bytes, context: Context) -> bool:
    key = context.key
    if not key:
        return False
    if _OAUTH_KEY.search(key) and _OAUTH_VALUE.fullmatch(text):
        return True
    if _SHORT_KEY.search(key) and _SHORT.fullmatch(text):
        return True
    if _NUMBER_KEY.search(key) and _NUMBER.fullmatch(text):
        return True
    if len(text) < 4 or not _KEY.search(key) or _SEPARATE.search(key):
        return False
    if b" " in text.strip() or text.startswith((b"http://", b"https://")):
        # pass phrases may hold spaces; other secrets do not, and prose under "code" or "token" does
        return key.endswith(_SPACES_TOO)
    if key.endswith(_SPACES_TOO):
        return _NO_PASSWORD.fullmatch(text) is None
    # of AWS4 credentials the key id alone is secret, and found by its shape
    return _NOT_SECRET.fullmatch(text) is None and _AWS_SCOPE.fullmatch(text) is None
