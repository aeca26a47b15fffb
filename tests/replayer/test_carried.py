"""Words in messages: found, and replaced."""

from __future__ import annotations

from replayer.carried import Origin, carried_by, places_of, respoken, words_of


def test_words_are_strings_and_what_is_in_them() -> None:
    """A text's strings count as a whole, unescaped; what binary messages hold counts by the word."""
    payload = b'{"a":"x.y/z+1=","b\\n":"ro\\/om:run-01","c":"abc"}'
    assert words_of(payload, text=True) == {b"x.y/z+1=", b"ro/om:run-01", b"run-01"}
    assert words_of(payload, text=False) == {b"run-01"}
    assert words_of(b"hello eyJh.eyJi.sig \xff", text=False) == {b"eyJh.eyJi.sig"}


def test_weak_words_count_only_where_ids_stand() -> None:
    """A number that chance can repeat has to be an id there and here; a topic names things, too."""
    origins = {b"123456": Origin(1, "body.id", 10)}
    for payload, carries in (
        (b'{"room_id":123456}', True),
        (b'{"topic":"room:123456"}', True),
        (b'{"amount":123456}', False),
        (b"pay 123456", False),
    ):
        assert bool(list(carried_by(payload, 20, origins, text=True))) is carries
    elsewhere = {b"123456": Origin(1, "body.total", 10)}
    assert not list(carried_by(b'{"room_id":123456}', 20, elsewhere, text=True))


def test_places_of_a_message_are_those_of_its_json() -> None:
    """Fields by their names, the elements of a list by that of the list; other text is one place."""
    assert places_of(b'["1","t",{"a":{"b":1}}]') == {"message", "message.a.b"}
    assert places_of(b"hello") == {"message"}


def test_fresh_values_are_written_as_their_place_asks() -> None:
    """Whole strings before the words in them, with escapes in JSON, as they are in binary."""
    fresh = {b"a.whole/token": b'new"one', b"run-01": b"run-99"}.get
    assert respoken(b'{"t":"a.whole\\/token","topic":"x:run-01"}', fresh, text=True) == (
        b'{"t":"new\\"one","topic":"x:run-99"}'
    )
    assert respoken(b'"run-01" run-01 run-012', fresh, text=False) == b'"run-99" run-99 run-012'
    assert respoken(b'say "run-01, run-01', fresh, text=True) == b'say "run-99, run-99'
    torn = b'say "' + b'\\"' * 50_000 + b' run-01 {"t":"run-01'
    assert respoken(torn, fresh, text=True) == torn.replace(b"run-01", b"run-99")
    assert words_of(torn, text=True) == {b"run-01"}
