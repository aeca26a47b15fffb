from __future__ import annotations

import pytest

from captures.errors import UsageError
from recorder.modes import ListenAddress, Mode, parse_listen, parse_mode


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("regular", Mode(spec="regular", upstream_host=None)),
        ("reverse:http://staging:8080", Mode(spec="reverse:http://staging:8080", upstream_host="staging")),
        ("reverse:https://a.example/", Mode(spec="reverse:https://a.example", upstream_host="a.example")),
        ("reverse:http://[::1]:80", Mode(spec="reverse:http://[::1]:80", upstream_host="::1")),
    ],
)
def test_modes_that_work(text: str, expected: Mode):
    """The two modes are understood, with names, ports and IPv6 addresses."""
    assert parse_mode(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "transparent",
        "socks5",
        "upstream:http://proxy:3128",
        "reverse:",
        "reverse:staging:8080",
        "reverse:tcp://staging:8080",
        "reverse:http://staging/api",
        "reverse:http://staging:99999",
        "reverse:http://staging?a=b",
        "",
    ],
)
def test_other_modes_are_refused_with_those_that_work(text: str):
    """A mode that does not work is wrong usage, and the message names what does."""
    with pytest.raises(UsageError, match=r"reverse:http://HOST:PORT.*regular"):
        parse_mode(text)


def test_a_password_in_the_url_is_refused_and_not_repeated():
    """User info in a mode neither works nor shows up in the message."""
    for text in ("reverse:http://user:hunter2@staging", "http://user:hunter2@staging"):
        with pytest.raises(UsageError) as caught:
            parse_mode(text)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:9000", "::1", 9000, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("myhost:80", "myhost", 80, False),
    ],
)
def test_listen_addresses(text: str, host: str, port: int, loopback: bool):
    """Host and port are told apart, and whether others can reach them is known."""
    address = parse_listen(text)
    assert address == ListenAddress(host=host, port=port)
    assert address.loopback is loopback


@pytest.mark.parametrize("text", ["8080", "127.0.0.1", ":8080", "127.0.0.1:99999", "::1:80", "a b"])
def test_other_listen_addresses_are_refused(text: str):
    """What is not HOST:PORT is wrong usage."""
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:8080"):
        parse_listen(text)


def test_an_ipv6_url_has_brackets():
    """The printed URL can be given to a client as it is."""
    assert ListenAddress(host="::1", port=0).url(81) == "http://[::1]:81"
