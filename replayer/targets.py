"""Where a replay may go: the target's URL, its addresses, and the guard against strangers."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from captures.errors import HookreelError, UsageError

_RECORDED_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\](?::\d+)?|[^\s=/?#@:\[\]]+(?::\d+)?")

Resolver = Callable[[str, int], Sequence[str]]
"""IP addresses of a host name; raises OSError when there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """
    What is replayed against. ``addresses`` are IP addresses in the order they are tried.

    ``host`` has no brackets; ``authority`` is what the Host header says (the port is left out
    when it is the scheme's own).
    """

    scheme: str
    host: str
    port: int
    addresses: tuple[str, ...]

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """Host and port as the Host header says them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The target without path."""
        return f"{self.scheme}://{self.authority}"


def resolve_host(host: str, port: int) -> list[str]:
    """IP addresses of ``host`` by the operating system's resolver, without duplicates."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def parse_target(
    url: str,
    *,
    allowed_hosts: Sequence[str] = (),
    resolve: Sequence[str] = (),
    resolver: Resolver = resolve_host,
) -> Target:
    """
    The target that ``url`` names, if it may be sent to.

    A target whose addresses are not all loopback or private must be named in
    ``allowed_hosts``. ``resolve`` holds ``HOST:PORT:ADDRESS`` entries that answer instead of
    ``resolver``.

    Raises:
        UsageError: the URL or an entry is wrong, or the target needs to be allowed.
        HookreelError: the host has no address.

    """
    scheme, host, port = _parse_url(url)
    overrides = dict(map(_parse_override, resolve))
    addresses: Sequence[str]
    if (host, port) in overrides:
        addresses = [overrides[host, port]]
    else:
        try:
            addresses = resolver(host, port)
        except (OSError, UnicodeError):
            addresses = []
    if not addresses:
        raise HookreelError(f"The host {host} has no address; check --target or name one with --resolve.")
    strangers = [address for address in addresses if not is_private(address)]
    if strangers and host not in {name.lower().strip("[]") for name in allowed_hosts}:
        raise UsageError(
            f"{host} ({strangers[0]}) is neither loopback nor private; "
            f"if it is yours to load, add --allow-host {host}."
        )
    return Target(scheme=scheme, host=host, port=port, addresses=tuple(addresses))


def parse_targets(
    texts: Sequence[str],
    *,
    allowed_hosts: Sequence[str] = (),
    resolve: Sequence[str] = (),
    resolver: Resolver = resolve_host,
) -> dict[str, Target]:
    """
    The targets by the recorded host (lower case) whose traffic they get; one for all is under "".

    Each of ``texts`` is a URL or ``RECORDED_HOST=URL``; the rest is as for ``parse_target``.

    Raises:
        UsageError: a text is wrong, names a host again, or a URL stands beside others; or as there.
        HookreelError: as there.

    """
    found: dict[str, Target] = {}
    for text in texts:
        host, equals, url = text.partition("=")
        if not equals or "://" in host:
            host, url = "", text
        elif not _RECORDED_HOST.fullmatch(host):
            raise UsageError(
                f"{text!r} is not HOST=URL; write it like api.example.com=http://localhost:3000."
            )
        host = host.lower()
        if host in found:
            what = f"{host} gets two targets" if host else "There are two targets for everything"
            raise UsageError(f"{what}; give one --target for each recorded host, as HOST=URL.")
        found[host] = parse_target(url, allowed_hosts=allowed_hosts, resolve=resolve, resolver=resolver)
    if "" in found and len(found) > 1:
        raise UsageError("One --target is for everything and others are not; write each as HOST=URL.")
    return found


def is_private(address: str) -> bool:
    """Whether an IP address is loopback, link-local or from a private range."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_private)


def _parse_url(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError("The target is not a URL; write it like http://localhost:3000.") from None
    if "@" in parts.netloc:
        raise UsageError("The target holds user info; leave it out and map it with --credentials.")
    if parts.scheme not in {"http", "https"} or not host or any(char <= " " for char in url):
        raise UsageError(f"{url!r} is not an http or https URL; write it like http://localhost:3000.")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise UsageError("The target has a path; give scheme, host and port only.")
    if port == 0:
        raise UsageError("Port 0 cannot be sent to; give the port the target listens on.")
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80)


def _parse_override(entry: str) -> tuple[tuple[str, int], str]:
    host, _, rest = entry.partition(":") if not entry.startswith("[") else _split_brackets(entry)
    port, _, address = rest.partition(":")
    address = address.strip("[]")
    try:
        ipaddress.ip_address(address)
        number = int(port)
    except ValueError:
        raise UsageError(
            f"{entry!r} is not HOST:PORT:ADDRESS; write it like api.test:443:127.0.0.1."
        ) from None
    return (host.lower(), number), address


def _split_brackets(entry: str) -> tuple[str, str, str]:
    host, _, rest = entry[1:].partition("]")
    return host, ":", rest.removeprefix(":")
