from __future__ import annotations

import pytest
from mitmproxy.proxy.mode_specs import ProxyMode

from captures.errors import UsageError
from recorder.modes import (
    ListenAddress,
    Mode,
    Routes,
    Upstream,
    parse_listen,
    parse_mode,
    parse_modes,
    parse_routes,
)

DEFAULT = ListenAddress(host="127.0.0.1", port=8080)


@pytest.mark.parametrize(
    ("text", "spec", "listen"),
    [
        ("regular", "regular", None),
        ("reverse:http://staging:8080", "reverse:http://staging:8080", None),
        ("reverse:https://a.example/", "reverse:https://a.example", None),
        ("reverse:http://[::1]:81", "reverse:http://[::1]:81", None),
        ("reverse:http://[::1]", "reverse:http://[::1]", None),
        ("upstream:http://proxy:3128", "upstream:http://proxy:3128", None),
        ("socks5@127.0.0.1:1080", "socks5", ListenAddress(host="127.0.0.1", port=1080)),
        ("transparent@0.0.0.0:8080", "transparent", ListenAddress(host="0.0.0.0", port=8080)),
        ("regular@8081", "regular", ListenAddress(host="127.0.0.1", port=8081)),
        ("reverse:http://a:1@[::1]:0", "reverse:http://a:1", ListenAddress(host="::1", port=0)),
    ],
)
def test_modes_that_work(text: str, spec: str, listen: ListenAddress | None):
    """Modes are understood with names, ports, IPv6 and an address of their own, and mitmproxy takes them."""
    assert parse_mode(text) == Mode(spec=spec, listen=listen)
    assert ProxyMode.parse(spec).full_spec == spec


@pytest.mark.parametrize(
    "text",
    [
        "dns",
        "wireguard",
        "transparent:x",
        "upstream:",
        "upstream:socks5://proxy:1080",
        "reverse:",
        "reverse:staging:8080",
        "reverse:tcp://staging:8080",
        "reverse:http://staging/api",
        "reverse:http://staging:99999",
        "reverse:http://staging?a=b",
        "http://staging:8080",
        "",
    ],
)
def test_other_modes_are_refused_with_those_that_work(text: str):
    """A mode that does not work is wrong usage, and the message names what does."""
    with pytest.raises(UsageError, match=r"(reverse|upstream):http://HOST:PORT"):
        parse_mode(text)


@pytest.mark.parametrize(
    "text",
    [
        "reverse:http://user:hunter2@staging",
        "reverse:http://user:hunter2@staging:80",
        "upstream:http://user:hunter2@proxy",
        "http://user:hunter2@staging",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(text: str):
    """User info in a mode neither works nor shows up in the message."""
    with pytest.raises(UsageError) as caught:
        parse_mode(text)
    assert "hunter2" not in str(caught.value)


def test_only_one_mode_takes_the_default_address():
    """Modes without an address share --listen only when there is one of them."""
    regular, socks5 = parse_modes(["regular", "socks5@1080"], DEFAULT)
    assert (regular.listen, socks5.listen) == (DEFAULT, ListenAddress(host="127.0.0.1", port=1080))
    with pytest.raises(UsageError, match="address each"):
        parse_modes(["regular", "socks5"], DEFAULT)
    with pytest.raises(UsageError, match="one address"):
        parse_modes(["regular@8080", "socks5"], DEFAULT)
    assert len(parse_modes(["regular@0", "socks5@0"], DEFAULT)) == 2


@pytest.mark.parametrize(
    ("mode", "listen"),
    [
        ("reverse:http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("reverse:http://[::1]:81", "[::1]:81"),
        ("reverse:http://127.0.0.1:8081@8081", "8080"),
    ],
)
def test_a_recorder_in_front_of_itself_is_refused(mode: str, listen: str):
    """The server and the recorder cannot have one address; a newcomer gives --listen the server's."""
    with pytest.raises(UsageError, match="would call itself"):
        parse_modes([mode], parse_listen(listen))


def routes(*texts: str) -> Routes:
    return parse_routes(texts, parse_modes(["reverse:http://default"], DEFAULT))


def test_the_most_exact_route_wins():
    """A host beats none, a longer path a shorter one; what no route takes is the mode's."""
    chosen = routes(
        "/api=http://a:1", "Shop.example=http://b:2", "shop.example/api=http://c:3", "/api/v2=https://d"
    )
    expected = {
        ("h", "/api"): "a",
        ("h", "/api?x=1"): "a",
        ("h", "/api/v1/x"): "a",
        ("h:8080", "/api/v2/x"): "d",
        ("shop.example:8080", "/"): "b",
        ("SHOP.example", "/api/v2"): "c",
        ("h", "/apis"): None,
        ("h", "/"): None,
    }
    found = {place: chosen.of(*place) for place in expected}
    assert {place: item.host if item else None for place, item in found.items()} == expected
    assert found["h:8080", "/api/v2/x"] == Upstream(scheme="https", host="d", port=443)


def test_a_route_may_name_a_port():
    """A host with a port means that port only."""
    chosen = routes("a.example:81=http://x:1")
    assert chosen.of("a.example:81", "/") is not None
    assert chosen.of("a.example", "/") is None


@pytest.mark.parametrize(
    "text", ["", "=http://a", "/a", "/a=", "/a=b:80", "/a=http://u:hunter2@b", "/a=http://b/c"]
)
def test_other_routes_are_refused(text: str):
    """A route without a place or a server is wrong usage, and no password is repeated."""
    with pytest.raises(UsageError, match=r"write it like /api=") as caught:
        routes(text)
    assert "hunter2" not in str(caught.value)


def test_routes_need_a_reverse_mode():
    """A forward proxy's clients say where they want to go."""
    with pytest.raises(UsageError, match="reverse"):
        parse_routes(["/a=http://b"], parse_modes(["regular"], DEFAULT))


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("8080", "127.0.0.1", 8080, True),
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:9000", "::1", 9000, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("myhost:80", "myhost", 80, False),
    ],
)
def test_listen_addresses(text: str, host: str, port: int, loopback: bool):
    """Host and port, IPv6 in brackets, and whether only this machine can reach it."""
    address = parse_listen(text)
    assert (address.host, address.port, address.loopback) == (host, port, loopback)


@pytest.mark.parametrize(
    "text", ["99999", ":8080", "host:", "::1:80", "host:99999", "host:80 ", "http://h:80"]
)
def test_other_listen_addresses_are_refused(text: str):
    """An address that is none, or has no port, is wrong usage."""
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:8080"):
        parse_listen(text)


def test_an_ipv6_url_has_brackets():
    """What is printed can be pasted into a client."""
    assert parse_listen("[::1]:0").url(81) == "http://[::1]:81"
    assert parse_listen("127.0.0.1:0").url(82, "socks5") == "socks5://127.0.0.1:82"
