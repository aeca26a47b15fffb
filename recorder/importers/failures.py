"""Why a foreign file has no response for a request, out of what its tool wrote as an error."""

from __future__ import annotations

import re

from captures.model import Failure, FailureReason

_WORDS = (
    (FailureReason.TIMEOUT, ("timed_out", "timed out", "timeout")),
    (FailureReason.CLIENT_DISCONNECTED, ("aborted", "blocked", "client disconnected", "by client")),
    (
        FailureReason.UPSTREAM_UNREACHABLE,
        (
            "refused", "name_not_resolved", "unreachable", "internet_disconnected", "unknown_host",
            "connection_failed", "connect call failed", "name or service", "getaddrinfo",
        ),
    ),
    (
        FailureReason.UPSTREAM_RESET,
        ("reset", "closed", "empty_response", "interrupt", "incomplete", "without sending complete"),
    ),
    (FailureReason.PROTOCOL_ERROR, ("protocol", "invalid", "ssl", "cert", "tls")),
)  # fmt: skip
_CODE = re.compile(r"net::ERR_[A-Z_]{1,60}|NS_[A-Z_]{1,60}")


def failure_from(text: str, offset_ns: int, *, otherwise: str) -> Failure:
    """
    The failure that an error's ``text`` stands for.

    The text may quote traffic, so only a browser's own error code is taken from it as the detail.
    """
    lowered = text.lower()
    by_value = {reason.value: reason for reason in FailureReason}
    reason = by_value.get(text) or next(
        (reason for reason, words in _WORDS if any(word in lowered for word in words)), FailureReason.OTHER
    )
    code = _CODE.search(text)
    return Failure(reason=reason, offset_ns=offset_ns, detail=code[0] if code else otherwise)
