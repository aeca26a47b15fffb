"""Forms, URLs, percent escapes, server-sent events and multipart bodies as spans."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.bodies import form, multipart, percent, sse, url
from captures.bodies.edits import Edit, splice


def pairs_of(data: bytes) -> list[tuple[bytes, bytes]]:
    return [(data[p.name_start : p.name_stop], data[p.value_start : p.value_stop]) for p in form.pairs(data)]


def test_form_pairs() -> None:
    """Names without a value, empty pairs and values with equals signs keep their spans."""
    assert pairs_of(b"a=1&b&=c&d=e=f&&g=") == [
        (b"a", b"1"),
        (b"b", b""),
        (b"", b"c"),
        (b"d", b"e=f"),
        (b"", b""),
        (b"g", b""),
    ]


@given(st.lists(st.tuples(st.text(min_size=1), st.text())))
def test_forms_read_as_the_standard_library_does(pairs: list[tuple[str, str]]) -> None:
    """Unescaped pairs are those that urllib finds."""
    data = urlencode(pairs, errors="surrogatepass").encode()
    found = [
        tuple(percent.unescape(part, form=True).text.decode("utf-8", "surrogatepass") for part in pair)
        for pair in pairs_of(data)
    ]
    assert found == parse_qsl(data.decode(), keep_blank_values=True, errors="surrogatepass")


@given(st.binary(), st.booleans())
def test_percent_escapes_round_trip(text: bytes, form_escapes: bool) -> None:
    """Any bytes come back from their escaped form."""
    assert percent.unescape(percent.escape(text, form=form_escapes), form=form_escapes).text == text


def test_percent_escapes_as_the_original_has_them() -> None:
    """An at sign stays as it is where the original had one unescaped, and is escaped elsewhere."""
    assert percent.escape(b"a@b", raw=b"x@y") == b"a@b"
    assert percent.escape(b"a@b", raw=b"x%40y") == b"a%40b"
    assert percent.escape(b"a b", form=True) == quote_plus("a b").encode()


def test_parts_of_a_target() -> None:
    """Path, query and fragment are told apart, and each may be absent."""
    for target, expected in [
        (b"/a/b", (b"/a/b", b"", b"")),
        (b"/a?b=c#d", (b"/a", b"b=c", b"d")),
        (b"/a#b?c", (b"/a", b"", b"b?c")),
        (b"/?", (b"/", b"", b"")),
    ]:
        parts = url.split_target(target)
        found = (
            target[: parts.path_stop],
            target[parts.query_start : parts.query_stop],
            target[parts.fragment_start :],
        )
        assert found == expected


def test_queries_and_user_infos_in_text() -> None:
    """URLs inside a text give their query pairs and their credentials."""
    text = b'see "https://bob:pa55@h.test/x?tok=1&u=a%40b" and ?z=9'
    assert [text[p.value_start : p.value_stop] for p in url.query_pairs(text)] == [b"1", b"a%40b", b"9"]
    assert [(text[slice(*name)], text[slice(*word)]) for name, word in url.user_infos(text)] == [
        (b"bob", b"pa55")
    ]
    assert list(url.user_infos(b"http://host:80/a@b")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"/users;sid=a+b;v=2/edit", [b"a+b", b"2"]),
        (b"/x?a=b;c=d&e=f", [b"b;c=d", b"f"]),  # one value to most, and a secret may hold the sign
        (b"/x?a=1&amp;b=2", [b"1", b"2"]),
        (b"/x;jsessionid=0A1B?q=1", [b"0A1B", b"1"]),
    ],
)
def test_parameters_of_a_path(text: bytes, expected: list[bytes]) -> None:
    """Pairs behind a semicolon are found too."""
    assert [text[p.value_start : p.value_stop] for p in url.query_pairs(text)] == expected


def test_events() -> None:
    """Each line of an event gives its field and value; comments have no field."""
    data = b": ping\nevent: log\r\ndata: {}\ndata:x: y\n\n"
    assert [(line.field, data[line.start : line.stop]) for line in sse.lines(data)] == [
        (b"", b"ping"),
        (b"event", b"log"),
        (b"data", b"{}"),
        (b"data", b"x: y"),
    ]


def test_lines_that_are_no_fields_are_lines_all_the_same() -> None:
    """What a client would ignore is given whole, so that nothing in it passes unseen."""
    data = b"hello jane\nX-Field: 1\n\ndata: {}\n"
    assert [(line.field, data[line.start : line.stop]) for line in sse.lines(data)] == [
        (b"line", b"hello jane"),
        (b"line", b"X-Field: 1"),
        (b"data", b"{}"),
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_events_end_at_empty_lines(end: bytes) -> None:
    """Lines come by the event they belong to, whatever ends a line."""
    data = end.join([b"data: a", b"data: b", b"", b"", b": c", b"data: d"])
    found = [[data[line.start : line.stop] for line in event] for event in sse.events(data)]
    assert found == [[b"a", b"b"], [b"c", b"d"]]


def test_edits_of_joined_data_go_to_their_lines() -> None:
    """An edit of one line stays in it; one that goes over a line break leaves nothing of its text."""
    data = b"data: abc\ndata: def\n"
    of = list(sse.lines(data))
    assert splice(data, sse.placed(of, [Edit(1, 3, b"X"), Edit(4, 5, b"YY")])) == b"data: aX\ndata: YYef\n"
    assert splice(data, sse.placed(of, [Edit(1, 6, b"X")])) == b"data: aX\ndata: f\n"


def test_multipart_delimiters() -> None:
    """The boundary's span in every delimiter line, and not where it stands in a content."""
    data = b"--B\r\nx: y\r\n\r\nno --B here\r\n--B\r\n\r\n\r\n--B--\r\n"
    spans = list(multipart.delimiters(data, b"B"))
    assert len(spans) == 3
    assert all(data[start - 2 : stop] == b"--B" for start, stop in spans)
    assert multipart.content_type_span(b"A: b\r\nContent-Type: text/x") == (20, 26)
    assert multipart.content_type_span(b"A: b") is None


def test_multipart_parts() -> None:
    """Names, types and contents of all parts are found, and a part cut short runs to the end."""
    data = (
        b'preamble\r\n--B\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\ntwo\r\n'
        b'--B\r\nContent-Disposition: form-data; name="f"; filename="x.png"\r\n'
        b"Content-Type: image/png\r\n\r\n\x89PNG\r\n--B--\r\n"
    )
    found = [(p.name, p.content_type, data[p.start : p.stop]) for p in multipart.parts(data, b"B")]
    assert found == [(b"a", b"", b"one\r\ntwo"), (b"f", b"image/png", b"\x89PNG")]
    cut = [data[p.start : p.stop] for p in multipart.parts(data[:-10], b"B")]
    assert cut == [b"one\r\ntwo", b"\x89PN"]
    assert list(multipart.parts(b"nothing", b"B")) == []


def test_multipart_boundaries() -> None:
    """The boundary is read with and without quotes."""
    assert multipart.boundary(b'multipart/form-data; boundary="a b"; x=y') == b"a b"
    assert multipart.boundary(b"multipart/form-data; Boundary=abc") == b"abc"
    assert multipart.boundary(b"text/plain") is None
