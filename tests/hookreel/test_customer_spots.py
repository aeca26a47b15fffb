"""Where values stand in bodies of every kind."""

from __future__ import annotations

import base64
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hookreel.customer_spots import body_spots, one_header_spots, user_and_password


def places(body: bytes, stated_type: bytes = b"") -> list[tuple[str, bytes]]:
    return [(spot.place, spot.value) for spot in body_spots(body, stated_type)]


def test_markup_has_its_elements_and_attributes() -> None:
    """By their names, with references undone; comments and scripts say nothing of a customer."""
    body = b'<?xml version="1.0"?><order ref="A1"><name>Jane &amp; Co</name><!-- no --></order>'
    assert places(body) == [("body.order.ref", b"A1"), ("body.order.name", b"Jane & Co")]


def test_parts_have_their_names_and_their_own_kinds() -> None:
    """A field is a value, a file is a body of the type that it states."""
    body = (
        b'--B\r\nContent-Disposition: form-data; name="email"\r\n\r\njane@b.test\r\n'
        b'--B\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n'
        b"Content-Type: application/json\r\n\r\n"
        b'{"id": 7}\r\n--B\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--B--\r\n'
    )
    found = list(body_spots(body, b"multipart/form-data; boundary=B"))
    assert [(spot.place, spot.value) for spot in found] == [("body.email", b"jane@b.test"), ("body.id", b"7")]
    assert all(body[spot.start : spot.stop] == spot.value for spot in found)


def test_text_has_fields_and_what_is_left_of_its_lines() -> None:
    """Each byte belongs to one value at most."""
    found = places(b"user=jane level=info said something\nplain words here\n")
    assert found[:2] == [("body.user", b"jane"), ("body.level", b"info")]
    rest = b"".join(value for place, value in found if place == "text")
    assert rest.endswith(b" said somethingplain words here")


@given(
    st.text(alphabet="ab=: \n\"'{}<>&@.1", max_size=60), st.sampled_from([b"", b"text/plain", b"text/xml"])
)
def test_spots_never_overlap(text: str, stated_type: bytes) -> None:
    """Of any text: what is replaced in one place leaves the others where they are."""
    found = sorted((spot.start, spot.stop) for spot in body_spots(text.encode(), stated_type))
    assert all(one[1] <= other[0] for one, other in pairwise(found))


def test_basic_credentials_are_read() -> None:
    """User and password, each for itself; what is no base64 of them has none."""
    value = base64.b64encode(b"jane:pa:ss")
    (spot,) = one_header_spots((b"Authorization", b"Basic " + value))
    assert (spot.place, spot.value) == ("header.basic", value)
    assert user_and_password(value) == (b"jane", b"pa:ss")
    assert user_and_password(b"%%%") is None
    assert user_and_password(base64.b64encode(b"nobody")) is None
