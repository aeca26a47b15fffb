from __future__ import annotations

import pytest

from captures.model import FailureReason
from recorder.importers.failures import failure_from


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("net::ERR_CONNECTION_REFUSED", FailureReason.UPSTREAM_UNREACHABLE, "net::ERR_CONNECTION_REFUSED"),
        ("net::ERR_NAME_NOT_RESOLVED", FailureReason.UPSTREAM_UNREACHABLE, "net::ERR_NAME_NOT_RESOLVED"),
        ("net::ERR_CONNECTION_RESET", FailureReason.UPSTREAM_RESET, "net::ERR_CONNECTION_RESET"),
        ("net::ERR_TIMED_OUT", FailureReason.TIMEOUT, "net::ERR_TIMED_OUT"),
        ("net::ERR_SSL_PROTOCOL_ERROR", FailureReason.PROTOCOL_ERROR, "net::ERR_SSL_PROTOCOL_ERROR"),
        ("NS_BINDING_ABORTED", FailureReason.CLIENT_DISCONNECTED, "NS_BINDING_ABORTED"),
        ("Client disconnected.", FailureReason.CLIENT_DISCONNECTED, "none"),
        ("server closed connection", FailureReason.UPSTREAM_RESET, "none"),
        ("upstream-reset", FailureReason.UPSTREAM_RESET, "none"),
        ("GET /secret went wrong", FailureReason.OTHER, "none"),
        ("", FailureReason.OTHER, "none"),
    ],
)
def test_reason_of_an_error_text(text: str, reason: FailureReason, detail: str) -> None:
    """Tools' words map to our reasons; only a browser's code is kept of the text."""
    failure = failure_from(text, 5, otherwise="none")
    assert (failure.reason, failure.detail, failure.offset_ns) == (reason, detail, 5)
