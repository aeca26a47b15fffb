"""How clients reach the recorder, where it listens, whom it calls: the command line's text, checked."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from captures.errors import UsageError

_WORKS = (
    "use reverse:http://HOST:PORT, reverse:https://HOST:PORT, regular, upstream:http://HOST:PORT, socks5 "
    "or transparent, each with @HOST:PORT after it when there are several."
)
_LISTEN = re.compile(r"(?:(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]]+):)?(?P<port>[0-9]{1,5})")
_PLAIN_MODES = frozenset({"regular", "socks5", "transparent"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


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

    def url(self, port: int, scheme: str = "http") -> str:
        """How a client on ``port`` writes it."""
        return f"{scheme}://[{self.host}]:{port}" if ":" in self.host else f"{scheme}://{self.host}:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A server to call."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """``spec`` as mitmproxy writes it, without an address; ``listen`` is its own address, if it has one."""

    spec: str
    listen: ListenAddress | None = None

    @property
    def kind(self) -> str:
        """The word before the colon."""
        return self.spec.partition(":")[0]

    @property
    def scheme(self) -> str:
        """What clients write before the address they are given."""
        return "socks5" if self.kind == "socks5" else "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Requests for ``host`` (None: any; lower case) below ``path`` go to ``upstream``."""

    host: str | None
    path: str
    upstream: Upstream

    def takes(self, host: str, path: str) -> bool:
        """Whether a request with this Host header and target is meant."""
        if self.host is not None:
            asked = host.lower()
            bare = asked.rpartition(":")[0] if re.search(r":\d+$", asked) else asked
            if self.host not in {asked, bare}:
                return False
        below = self.path.rstrip("/")
        return path.startswith(below) and path[len(below) : len(below) + 1] in {"", "/", "?"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Where a reverse proxy's requests go; the most exact route wins: with a host, then the longest path."""

    routes: tuple[Route, ...] = ()

    def of(self, host: str, path: str) -> Upstream | None:
        """The upstream for a request, or None for the mode's own."""
        for route in self.routes:
            if route.takes(host, path):
                return route.upstream
        return None


def parse_mode(text: str) -> Mode:
    """
    The mode of ``"regular"``, ``"reverse:http://host:port"`` or ``"socks5@127.0.0.1:1080"``.

    Raises:
        UsageError: anything else.

    """
    spec, listen = _split_address(text)
    if spec in _PLAIN_MODES:
        return Mode(spec=spec, listen=listen)
    kind, _, url = spec.partition(":")
    if kind in _DEFAULT_PORTS:
        raise UsageError(
            "--mode takes no URL alone; to stand in front of that server write --mode reverse:URL, "
            "like reverse:http://HOST:PORT."
        )
    if kind not in {"reverse", "upstream"}:
        # What follows the colon may hold a password, so it is not repeated.
        raise UsageError(f"The mode {kind!r} is not supported; {_WORKS}")
    target = parse_upstream(url, f"--mode {kind}", f"write it like --mode {kind}:http://HOST:PORT.")
    return Mode(spec=f"{kind}:{_url(target)}", listen=listen)


def parse_modes(texts: Sequence[str], default: ListenAddress) -> tuple[Mode, ...]:
    """
    All modes of one recording; the one without an address of its own listens at ``default``.

    Raises:
        UsageError: a mode that does not work, two at one address, or one in front of its own.

    """
    modes = tuple(parse_mode(text) for text in texts)
    if sum(mode.listen is None for mode in modes) > 1:
        raise UsageError("Several modes need an address each; write them like --mode regular@127.0.0.1:8081.")
    placed = tuple(Mode(spec=mode.spec, listen=mode.listen or default) for mode in modes)
    taken = [mode.listen for mode in placed if mode.listen is not None and mode.listen.port]
    if len(set(taken)) < len(taken):
        raise UsageError("Two modes listen at one address; give each its own @HOST:PORT.")
    for mode in placed:
        assert mode.listen is not None
        own = Upstream(scheme="http", host=mode.listen.host, port=mode.listen.port)
        if mode.spec == f"reverse:{_url(own)}":
            raise UsageError(
                f"The recorder would call itself at {_url(own)}; choose another address with --listen, "
                "and let clients call that one."
            )
    return placed


def parse_upstream(url: str, option: str, works: str) -> Upstream:
    """
    The server of an http or https URL without user, path or query; ``works`` says what to write instead.

    Raises:
        UsageError: anything else.

    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError(f"The URL of {option} is not valid; {works}") from None
    if "@" in url:
        raise UsageError(f"The URL of {option} takes no user or password; {works}")
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise UsageError(f"The URL of {option} must be http or https with a host; {works}")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise UsageError(f"The URL of {option} takes no path, since clients send theirs; {works}")
    return Upstream(scheme=parts.scheme, host=host, port=port or _DEFAULT_PORTS[parts.scheme])


def parse_routes(texts: Sequence[str], modes: Sequence[Mode]) -> Routes:
    """
    Routes written ``HOST=URL``, ``/PATH=URL`` or ``HOST/PATH=URL``.

    Raises:
        UsageError: anything else, or no reverse mode to use them.

    """
    if texts and not any(mode.kind == "reverse" for mode in modes):
        raise UsageError("--route needs --mode reverse:URL; the URL there takes what no route takes.")
    routes = [_route(text) for text in texts]
    routes.sort(key=lambda route: (route.host is not None, len(route.path)), reverse=True)
    return Routes(routes=tuple(routes))


def parse_listen(text: str) -> ListenAddress:
    """
    The address of ``"127.0.0.1:8080"``, ``"[::1]:0"``, ``"localhost:8080"`` or ``"8080"`` (on loopback).

    Raises:
        UsageError: anything else.

    """
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise UsageError(f"{text!r} is not an address to listen on; write it like 127.0.0.1:8080 or [::1]:0.")
    return ListenAddress(host=(match["host"] or "127.0.0.1").strip("[]"), port=int(match["port"]))


def _split_address(text: str) -> tuple[str, ListenAddress | None]:
    head, _, tail = text.rpartition("@")
    # Anything else after an @ belongs to a URL with a password, which is refused as such.
    return (head, parse_listen(tail)) if head and _LISTEN.fullmatch(tail) else (text, None)


def _route(text: str) -> Route:
    works = "write it like /api=http://HOST:PORT or admin.example=http://HOST:PORT."
    place, equals, url = text.partition("=")
    host, slash, path = place.partition("/")
    if not equals or not place:
        raise UsageError(f"A route has a host or a path, and where it leads; {works}")
    return Route(host=host.lower() or None, path=slash + path, upstream=parse_upstream(url, "--route", works))


def _url(target: Upstream) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    port = "" if target.port == _DEFAULT_PORTS[target.scheme] else f":{target.port}"
    return f"{target.scheme}://{host}{port}"
