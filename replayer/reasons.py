"""Why a connection could not be opened, and when that is this machine's fault."""

from __future__ import annotations

import errno
import os
import ssl

OUR_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})
"""This machine ran out of something: no word about the target, so the exchange was never offered."""


def tls_reason(error: ssl.SSLError) -> str:
    """Why a TLS handshake failed, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.rstrip(".")
    return (error.reason or "handshake failure").replace("_", " ").lower()


def os_reason(error: Exception | None) -> str:
    """Why a connection could not be opened, in a few words."""
    number = getattr(error, "errno", None)
    if number in OUR_SHORTAGES:
        return os.strerror(number).lower()  # event loops word it in their own ways
    text = getattr(error, "strerror", None) or type(error).__name__
    return text.lower() if isinstance(error, ConnectionRefusedError) else text
