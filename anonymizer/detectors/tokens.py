"""Tokens and API keys: by the prefixes their issuers publish, and by the key they stand under."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anonymizer.detectors.base import Context, Finding, Kind

PREFIXES = re.compile(
    rb"gh[pousr]_|github_pat_|glpat-|gl[a-z]{2,6}-|(?:sk|pk|rk)_(?:live|test)_|whsec_|xox[abeoprs]-|xapp-\d-|"
    rb"AKIA|ASIA|AIza|ya29\.|npm_|pypi-|SG\.|do[opr]_v1_|shp(?:at|ca|pa|ss)_|sbp_|sk-ant-|sk-proj-|sk-|"
    rb"sq0[a-z]{3}-|EAAA|key-|dp\.pt\.|hf_|lin_api_|rpa_|pat-|PMAK-|NRAK-|hvs\.|tfp_|SK|AC|v[0-9]+_live_"
)
"""Beginnings that tell whose token it is; a stand-in keeps them."""

_KNOWN = re.compile(
    rb"(?<![A-Za-z0-9_])(?:"
    rb"gh[pousr]_[A-Za-z0-9]{16,255}|github_pat_[A-Za-z0-9_]{20,255}"
    rb"|glpat-[A-Za-z0-9_.-]{20,}"
    rb"|(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{8,255}|whsec_[A-Za-z0-9+/=]{16,}"
    rb"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{10,}"
    rb"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}"
    rb"|npm_[A-Za-z0-9]{36}|pypi-AgEI[A-Za-z0-9_-]{50,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
    rb"|do[opr]_v1_[a-f0-9]{64}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|sbp_[a-f0-9]{40}"
    rb"|sk-(?:ant-|proj-)?[A-Za-z0-9_-]{20,}|sq0[a-z]{3}-[A-Za-z0-9_-]{22,}|hf_[A-Za-z0-9]{30,}"
    rb"|key-[a-f0-9]{32}|SK[a-f0-9]{32}|hvs\.[A-Za-z0-9_-]{24,}|lin_api_[A-Za-z0-9]{32,}"
    rb")(?![A-Za-z0-9_])"
)
_HINT = re.compile(
    rb"gh[pousr]_|github_pat_|glpat-|_live_|_test_|whsec_|xox|xapp-|AKIA|ASIA|ABIA|ACCA|AIza|ya29|npm_|pypi-|SG\.|"
    rb"_v1_|shp|sbp_|sk-|sq0|hf_|key-|SK|hvs\.|lin_api_"
)
_PRIVATE_KEY = re.compile(
    rb"-----BEGIN ([A-Z ]{0,20})PRIVATE KEY-----([A-Za-z0-9+/=\s\\:,.-]+?)(?=-----END )", re.DOTALL
)
_BEARER = re.compile(rb"\b[Bb]earer[ +]([A-Za-z0-9._~+/-]{12,}=*)")
_SLACK_HOOK = re.compile(rb"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9_/-]{20,})")
_KEY = re.compile(
    r"(?:^|_)(?:access_?token|refresh_?token|id_token|auth_?token|csrf_?token|xsrf_?token|session_?token|token|"
    r"secret|client_?secret|secret_?key|password|passwd|passphrase|pwd|api_?key|apikey|access_?key|"
    r"access_?key_id|private_?key|signing_?key|encryption_?key|credential|credentials|authorization|"
    r"session_?key|session_?id|sessionid|connect_sid|auth|otp|totp|mfa_code|recovery_code|cvc|cvv|ssn|"
    r"amz_signature|amz_credential|amz_security_token|signature|sig|hmac|hmac_sha256|bearer|jwt|assertion|"
    r"code_verifier|oauth_verifier|nonce_token|webhook_secret|hook_secret|verification_token)(?:_\d)?$"
    r"|^sid$"  # message_sid and the like are plain identifiers
)
_SHORT_KEY = re.compile(r"(?:^|_)(?:otp|totp|cvc|cvv|pin)$")
_NOT_SECRET = re.compile(
    rb"[*x\xe2\x80\xa2.]+|true|false|null|none|read|write|admin|bearer|basic|token|jwt|session|"
    rb"\[?(?:redacted|filtered|masked|hidden)\]?|[A-Z_]+|-----BEGIN PGP.*",
    re.IGNORECASE | re.DOTALL,
)
# code and state are also words for errors and progress; in OAuth (RFC 6749) their values are random
_OAUTH_KEY = re.compile(r"^(?:code|state|nonce|auth_code|authorization_code|device_code)$")
_OAUTH_VALUE = re.compile(rb"(?=[^0-9]*[0-9])(?=[^a-z]*[a-z])[A-Za-z0-9._~/+=-]{16,512}")
_SEPARATE = re.compile(
    r"(?:^|_)(?:type|url|uri|endpoint|expires?|expires_in|at|count|limit|name|scope|status)$"
)


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """Every token in ``text``, and all of ``text`` where its key says that it is a secret."""
    if context.credential or _is_secret_field(text, context):
        yield Finding(Kind.CREDENTIAL if context.credential else Kind.TOKEN, 0, len(text))
        return
    if len(text) < 12 or context.number:
        return
    if _HINT.search(text):
        for match in _KNOWN.finditer(text):
            yield Finding(Kind.TOKEN, *match.span())
    if b"earer" in text:
        for match in _BEARER.finditer(text):
            yield Finding(Kind.TOKEN, *match.span(1))
    if b"PRIVATE KEY" in text:
        for match in _PRIVATE_KEY.finditer(text):
            yield Finding(Kind.TOKEN, *match.span(2))
    if b"hooks.slack.com" in text:
        for match in _SLACK_HOOK.finditer(text):
            yield Finding(Kind.TOKEN, *match.span(1))


def _is_secret_field(text: bytes, context: Context) -> bool:
    if _OAUTH_KEY.search(context.key) and _OAUTH_VALUE.fullmatch(text):
        return True
    if _SHORT_KEY.search(context.key) and 3 <= len(text) <= 10:
        return True
    if len(text) < 4 or not _KEY.search(context.key) or _SEPARATE.search(context.key):
        return False
    if b" " in text.strip() or text.startswith((b"http://", b"https://")):
        # pass phrases may hold spaces; other secrets do not, and prose under "code" or "token" does
        return context.key.endswith(("password", "passphrase", "passwd", "pwd"))
    return _NOT_SECRET.fullmatch(text) is None
