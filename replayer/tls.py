"""TLS towards the target: verification is on unless it is switched off by name."""

from __future__ import annotations

import ssl
from pathlib import Path

from captures.errors import UsageError


def client_context(
    *,
    ca_file: Path | None = None,
    cert_file: Path | None = None,
    key_file: Path | None = None,
    insecure: bool,
    http2: bool = False,
) -> ssl.SSLContext:
    """
    The context for connections of a replay; by ALPN it offers HTTP/1.1, and before that HTTP/2 if asked.

    ``ca_file`` replaces the system's authorities. ``key_file`` may be left out when
    ``cert_file`` holds the key as well. ``insecure`` switches verification off.

    Raises:
        UsageError: a file cannot be used, or a key stands without its certificate.

    """
    if key_file is not None and cert_file is None:
        raise UsageError("--key stands without --cert; name the client certificate too.")
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{ca_file} cannot be used as authorities ({_reason(error)}); give a PEM file."
        ) from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert_file is not None:
        try:
            context.load_cert_chain(cert_file, key_file, password=_no_password)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{cert_file} cannot be used as client certificate ({_reason(error)}); "
                "give PEM files of a certificate and its key without a passphrase."
            ) from error
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    return context


def _no_password() -> str:
    """OpenSSL would otherwise ask on the terminal; an empty one makes the load fail."""
    return ""


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "not PEM"
    return getattr(error, "strerror", None) or type(error).__name__
