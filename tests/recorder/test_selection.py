from __future__ import annotations

from fractions import Fraction

from captures.conditions import parse_condition
from recorder.sampling import SessionSampler
from recorder.selection import Selection
from tests.recorder.made import made_exchange


def wanted(selection: Selection, *targets: str) -> list[str]:
    return [target for target in targets if selection.wants(made_exchange(target=target.encode()))]


def test_without_choices_everything_is_recorded():
    """No condition leaves nothing out."""
    assert Selection().wants(made_exchange())


def test_one_match_is_enough_and_one_ignore_is_too_much():
    """What meets any match and no ignore is recorded."""
    selection = Selection(
        match=[parse_condition("path=/a*"), parse_condition("path=/b")], ignore=[parse_condition("path=/a/x")]
    )
    assert wanted(selection, "/a", "/a/x", "/a/y", "/b", "/c") == ["/a", "/a/y", "/b"]


def test_what_is_ignored_still_tells_whose_session_it_began():
    """A login that is not recorded links its cookie to the decision for its connection."""
    sid = b"0123456789abcdef%d"
    for connection in range(40):
        key = b"k" * 32
        selection = Selection(
            ignore=[parse_condition("path=/login")], sampler=SessionSampler(Fraction(1, 2), key)
        )
        cookie = sid % connection
        login = made_exchange(
            connection=connection, target=b"/login", response_headers=((b"Set-Cookie", b"sid=" + cookie),)
        )
        assert not selection.wants(login)
        plain = made_exchange(connection=connection, target=b"/x")
        later = made_exchange(connection=900, target=b"/x", headers=((b"Cookie", b"sid=" + cookie),))
        assert selection.wants(later) == selection.wants(plain)
