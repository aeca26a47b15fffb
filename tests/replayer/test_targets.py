"""Targets: what a URL may be, and where nothing is sent without being asked twice."""

from __future__ import annotations

import pytest

from captures.errors import HookreelError, UsageError
from replayer.targets import is_private, parse_target, parse_targets


def answer(*addresses: str) -> object:
    return lambda _host, _port: addresses


def test_a_local_target_is_taken() -> None:
    """Scheme, host, port and addresses are known; the Host header leaves the usual port out."""
    target = parse_target("http://LocalHost:3000/", resolver=lambda _host, _port: ["::1", "127.0.0.1"])
    assert (target.url, target.addresses, target.tls) == (
        "http://localhost:3000",
        ("::1", "127.0.0.1"),
        False,
    )
    assert parse_target("https://127.0.0.1").authority == "127.0.0.1"
    assert parse_target("http://[::1]:80").authority == "[::1]"


@pytest.mark.parametrize(
    "url",
    [
        "localhost:3000",
        "ftp://localhost",
        "http://",
        "http://a b",
        "http://localhost:99999",
        "http://localhost:0",
        "http://localhost/path",
        "http://localhost?q=1",
        "http://[::1",
    ],
)
def test_what_is_no_target_is_refused(url: str) -> None:
    """Other schemes, paths, bad ports and half URLs are wrong usage."""
    with pytest.raises(UsageError):
        parse_target(url)


def test_user_info_is_refused_without_being_repeated() -> None:
    """A password in the URL is not accepted and not printed."""
    with pytest.raises(UsageError) as caught:
        parse_target("http://user:hunter2@localhost:3000")
    assert "hunter2" not in str(caught.value)


def test_a_public_target_must_be_allowed_by_name() -> None:
    """One public address among the private ones is enough to ask."""
    resolver = answer("10.0.0.1", "93.184.216.34")
    with pytest.raises(UsageError, match=r"--allow-host api\.test"):
        parse_target("http://api.test", resolver=resolver)
    target = parse_target("http://api.test", resolver=resolver, allowed_hosts=["API.test"])
    assert target.addresses == ("10.0.0.1", "93.184.216.34")
    with pytest.raises(UsageError):
        parse_target("http://api.test", resolver=resolver, allowed_hosts=["other.test"])


def test_an_override_answers_instead_of_the_resolver() -> None:
    """--resolve names the address, and the guard looks at that one."""
    target = parse_target("https://api.test", resolve=["api.test:443:127.0.0.1"], resolver=answer())
    assert target.addresses == ("127.0.0.1",)
    bracketed = parse_target("https://api.test", resolve=["[api.test]:443:[::1]"], resolver=answer())
    assert bracketed.addresses == ("::1",)
    with pytest.raises(UsageError):
        parse_target("https://api.test", resolve=["api.test:443:8.8.8.8"], resolver=answer())
    with pytest.raises(UsageError, match="HOST:PORT:ADDRESS"):
        parse_target("https://api.test", resolve=["api.test:443"], resolver=answer())


def test_a_host_without_address_is_told() -> None:
    """A name that does not resolve is our failure to reach it, in one sentence."""

    def fails(_host: str, _port: int) -> list[str]:
        raise OSError

    with pytest.raises(HookreelError, match=r"nowhere\.test has no address"):
        parse_target("http://nowhere.test", resolver=fails)


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("127.0.0.1", True),
        ("192.168.1.1", True),
        ("fd00::1", True),
        ("fe80::1%eth0", True),
        ("::ffff:10.0.0.1", True),
        ("::ffff:8.8.8.8", False),
        ("8.8.8.8", False),
        ("2606:4700::1111", False),
        ("not an address", False),
    ],
)
def test_private_addresses_are_told_from_public_ones(address: str, private: bool) -> None:
    """Loopback, link-local and private ranges count, mapped ones by what they map."""
    assert is_private(address) is private


def test_targets_of_several_services_are_told_apart_by_the_recorded_host() -> None:
    """Hosts are lower case and may have a port; a URL by itself is for everything, even with ``=`` in it."""
    found = parse_targets(["API.test=http://127.0.0.1:1", "[::1]:80=http://[::1]:2"])
    assert {host: target.url for host, target in found.items()} == {
        "api.test": "http://127.0.0.1:1",
        "[::1]:80": "http://[::1]:2",
    }
    assert list(parse_targets(["http://127.0.0.1:1"])) == [""]


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["http://127.0.0.1:1", "http://127.0.0.1:2"], "two targets for everything"),
        (["a.test=http://127.0.0.1:1", "A.test=http://127.0.0.1:2"], "a.test gets two targets"),
        (["a.test=http://127.0.0.1:1", "http://127.0.0.1:2"], "others are not"),
        (["a b=http://127.0.0.1:1"], "is not HOST=URL"),
        (["=http://127.0.0.1:1"], "is not HOST=URL"),
        (["a.test=127.0.0.1:1"], "not an http or https URL"),
        (["a.test=http://example.com"], "--allow-host"),
    ],
)
def test_targets_that_say_two_things_are_refused(texts: list[str], why: str) -> None:
    """The same host twice, or everything and something beside it."""
    with pytest.raises(UsageError, match=why):
        parse_targets(texts, resolver=lambda host, _: [host if host[0] == "1" else "93.184.216.34"])
