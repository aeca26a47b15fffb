"""How clients reach the recorder, and where it listens: text from the command line, checked."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from captures.errors import UsageError

_WORKS = "use --mode reverse:http://HOST:PORT, --mode reverse:https://HOST:PORT or --mode regular."
_LISTEN = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]]+):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """``spec`` as mitmproxy writes it; ``upstream_host`` is None for a forward proxy."""

    spec: str
    upstream_host: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """Where to accept connections; port 0 takes any free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def url(self, port: int) -> str:
        """How a client on ``port`` writes it."""
        return f"http://[{self.host}]:{port}" if ":" in self.host else f"http://{self.host}:{port}"


def parse_mode(text: str) -> Mode:
    """
    The mode of ``"regular"`` or ``"reverse:http://host:port"``.

    Raises:
        UsageError: anything else.

    """
    if text == "regular":
        return Mode(spec=text, upstream_host=None)
    kind, _, url = text.partition(":")
    if kind != "reverse":
        # What follows the colon may hold a password, so it is not repeated.
        raise UsageError(f"The mode {kind!r} is not supported; {_WORKS}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError(f"The URL of --mode reverse is not valid; {_WORKS}") from None
    if "@" in url:
        raise UsageError(f"The URL of --mode reverse takes no user or password; {_WORKS}")
    if parts.scheme not in {"http", "https"} or not host:
        raise UsageError(f"The URL of --mode reverse must be http or https with a host; {_WORKS}")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise UsageError(f"The URL of --mode reverse takes no path, since clients send theirs; {_WORKS}")
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = "" if port is None else f":{port}"
    return Mode(spec=f"reverse:{parts.scheme}://{shown_host}{shown_port}", upstream_host=host)


def parse_listen(text: str) -> ListenAddress:
    """
    The address of ``"127.0.0.1:8080"``, ``"[::1]:0"`` or ``"localhost:8080"``.

    Raises:
        UsageError: anything else.

    """
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise UsageError(f"{text!r} is not an address to listen on; write it like 127.0.0.1:8080 or [::1]:0.")
    return ListenAddress(host=match["host"].strip("[]"), port=int(match["port"]))
