from __future__ import annotations

from fractions import Fraction

import pytest

from captures.errors import UsageError
from captures.model import Headers
from recorder.sampling import SessionSampler, parse_share
from tests.recorder.made import made_exchange

KEY = b"k" * 32


def sampler(share: Fraction = Fraction(1, 2), **options: int) -> SessionSampler:
    return SessionSampler(share, KEY, **options)


def cookie(user: int) -> tuple[bytes, bytes]:
    return (b"Cookie", b"theme=dark; sid=session-number-%08d" % user)


def bearer(user: int) -> tuple[bytes, bytes]:
    return (b"Authorization", b"Bearer token-%d" % user)


@pytest.mark.parametrize(
    ("text", "share"),
    [("10%", Fraction(1, 10)), ("0.5%", Fraction(1, 200)), ("1/8", Fraction(1, 8)), ("100%", Fraction(1))],
)
def test_a_share_is_exact(text: str, share: Fraction):
    """Percents and fractions are read without rounding."""
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["", "0%", "101%", "3/2", "1/0", "0.1", "ten"])
def test_a_wrong_share_is_a_usage_error(text: str):
    """The error shows how it is written."""
    with pytest.raises(UsageError, match="10%"):
        parse_share(text)


@pytest.mark.parametrize("make", [cookie, bearer])
def test_a_session_is_in_or_out_as_a_whole(make):
    """On whatever connections its requests come, one decision holds for all of them."""
    chooser = sampler()
    decisions: dict[int, set[bool]] = {}
    for seq in range(3000):
        user = seq % 100
        exchange = made_exchange(seq, connection=(seq * 7) % 31, headers=(make(user),))
        decisions.setdefault(user, set()).add(chooser.wants(exchange))
    assert all(len(found) == 1 for found in decisions.values())


@pytest.mark.parametrize("share", [Fraction(1, 10), Fraction(1, 2), Fraction(9, 10)])
def test_the_share_is_that_of_the_sessions(share: Fraction):
    """Of many sessions about the share is chosen (here within five standard deviations)."""
    chooser = sampler(share)
    count = 4000
    chosen = sum(
        chooser.wants(made_exchange(seq, connection=seq, headers=(bearer(seq),))) for seq in range(count)
    )
    spread = (count * float(share) * (1 - float(share))) ** 0.5
    assert abs(chosen - count * share) < 5 * spread


def test_all_is_all():
    """A share of 100% leaves nothing out."""
    chooser = sampler(Fraction(1))
    assert all(chooser.wants(made_exchange(n, connection=n)) for n in range(1000))


def test_without_credentials_the_connection_is_the_session():
    """Requests that say nothing of their user stay together by connection."""
    chooser = sampler()
    first = [chooser.wants(made_exchange(n, connection=n)) for n in range(100)]
    assert {True, False} == set(first)
    assert [chooser.wants(made_exchange(n, connection=n)) for n in range(100)] == first


def test_the_choice_is_the_same_wherever_the_key_is():
    """Two recorders with one key choose the same sessions, with another key other ones."""

    def choices(key: bytes) -> list[bool]:
        chooser = SessionSampler(Fraction(1, 2), key)
        return [chooser.wants(made_exchange(n, connection=n, headers=(bearer(n),))) for n in range(200)]

    assert choices(KEY) == choices(KEY)
    assert choices(KEY) != choices(b"x" * 32)


@pytest.mark.parametrize("how", ["set by a response", "first seen on the connection", "rotated"])
def test_what_a_session_gets_later_belongs_to_it(how: str):
    """A session that begins without a name, or changes it, is not torn apart."""
    for user in range(60):
        chooser = sampler()
        given: Headers = ((b"Set-Cookie", b"sid=session-number-%08d; Path=/" % user),)
        old = bearer(user + 1000)
        headers: Headers = (old,) if how == "rotated" else ()
        response_headers = () if how == "first seen on the connection" else given
        begun = chooser.wants(
            made_exchange(connection=user, headers=headers, response_headers=response_headers)
        )
        connection = user if how == "first seen on the connection" else user + 500
        assert chooser.wants(made_exchange(1, connection=connection, headers=(cookie(user),))) == begun


def test_sessions_that_share_a_connection_are_told_apart():
    """Behind a load balancer many users come on few connections, and each is decided for itself."""
    chooser = sampler()
    decisions = [chooser.wants(made_exchange(n, connection=n % 2, headers=(cookie(n),))) for n in range(400)]
    assert 120 < sum(decisions) < 280


def test_a_short_cookie_names_no_session():
    """A setting that many users share does not make them one session."""
    chooser = sampler()
    decisions = [
        chooser.wants(made_exchange(n, connection=n, headers=((b"Cookie", b"theme=dark"),)))
        for n in range(400)
    ]
    assert 120 < sum(decisions) < 280


def test_memory_is_bounded():
    """However many sessions come by, no more than the limit are remembered."""
    chooser = sampler(remembered=50)
    for n in range(1000):
        chooser.wants(made_exchange(n, connection=n, headers=(bearer(n), cookie(n))))
    assert len(chooser._sessions._values) <= 50
    assert len(chooser._links._values) <= 50


@pytest.mark.parametrize(
    "common",
    [(b"Cookie", b"ab_variant=control-group-of-2026"), (b"Authorization", b"Bearer the-anonymous-token")],
    ids=["cookie", "token"],
)
def test_what_everybody_has_makes_no_one_session_of_all(common: tuple[bytes, bytes]):
    """A cookie or token that all users send stops telling sessions apart, and each stays whole."""
    chooser = sampler()
    decisions: dict[int, set[bool]] = {}
    for seq in range(1200):
        user = seq % 400
        exchange = made_exchange(seq, connection=seq, headers=(common, cookie(user)))
        decisions.setdefault(user, set()).add(chooser.wants(exchange))
    assert all(len(found) == 1 for found in decisions.values())
    assert 120 < sum(found == {True} for found in decisions.values()) < 280


def test_a_session_whose_cookie_changes_all_the_time_stays_whole():
    """However often responses renew a cookie, the session's decision holds."""
    for user in range(20):
        chooser = sampler()
        decisions = set()
        for step in range(200):
            now, then = (b"r=rolling-cookie-%d-%06d" % (user, step + one) for one in (0, 1))
            decisions.add(
                chooser.wants(
                    made_exchange(
                        step,
                        connection=step,
                        headers=((b"Cookie", b"sid=session-number-%08d; " % user + now),),
                        response_headers=((b"Set-Cookie", then),),
                    )
                )
            )
        assert len(decisions) == 1
