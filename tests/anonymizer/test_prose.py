"""Names of people in sentences, with a recogniser of a few lines in the model's place."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from anonymizer.cli import Options, run
from anonymizer.detectors import prose
from anonymizer.detectors.base import Context, Kind
from anonymizer.detectors.registry import Detectors
from anonymizer.policy import parse_policy
from captures.errors import UsageError
from captures.model import Counters
from captures.writer import CaptureWriter, new_header

SENTENCE = "Please call Åsa Lindqvist, the new head of sales, before noon on friday."


def recognise(text: str) -> list[tuple[int, int]]:
    at = text.find("Åsa Lindqvist")
    return [(at, at + 13)] if at >= 0 else []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SENTENCE, True),
        ("I met her there, and we talked for an hour.", True),
        ("Åsa Lindqvist", False),
        ("GET /api/v1/runs HTTP/1.1 200 OK", False),
        ('{"a": 1, "b": 2, "c": [1, 2, 3], "d": "x y z"}', False),
        ("f81d4fae 7dec 41d0 a765 00a0c91e6bf6", False),
        ("<p>some <b>bold</b> text in a page</p>", False),
        ("", False),
    ],
)
def test_what_reads_like_a_sentence(text: str, expected: bool) -> None:
    """Several words, some of them in lower case; code, markup and identifiers are no prose."""
    assert prose.is_prose(text.encode()) == expected


def test_names_in_sentences_are_found_word_by_word() -> None:
    """Each word of a name is a finding at its bytes, also behind letters of two bytes."""
    text = SENTENCE.encode()
    found = Detectors(prose=recognise).find(text, Context(key="note"))
    assert [(each.kind, text[each.start : each.stop].decode()) for each in found] == [
        (Kind.NAME, "Åsa"),
        (Kind.NAME, "Lindqvist"),
    ]
    assert Detectors().find(text, Context(key="note")) == []


def test_long_texts_are_looked_at_in_parts() -> None:
    """A name far behind the first part is found where it stands."""
    text = (b"so it went on for quite a while, " * 700) + SENTENCE.encode()
    found = list(prose.ProseDetector(recognise).find(text, Context()))
    assert [text[each.start : each.stop].decode() for each in found] == ["Åsa", "Lindqvist"]


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the model is absent the error names the extra."""
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    prose.load.cache_clear()
    with pytest.raises(UsageError, match=r"hookreel\[ner\]"):
        prose.load()
    prose.load.cache_clear()


def test_a_policy_asks_for_names_in_sentences(through: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name goes from the sentence and from wherever else it stands; without the policy it stays."""
    monkeypatch.setattr(prose, "load", lambda: recognise)
    body = json.dumps({"note": SENTENCE, "path": "/files/asa-lindqvist.pdf"}).encode()
    assert through(body=body).request.body == body
    new = through(body=body, policy=parse_policy({"names": {"prose": True}}, name="x")).request.body
    assert b"indqvist" not in new
    assert b"the new head of sales, before noon" in new


def test_the_command_line_asks_for_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--ner without the extra is wrong usage, and leaves no file behind."""
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    prose.load.cache_clear()
    source = tmp_path / "in.reel"
    with CaptureWriter.create(source, new_header(source="x", started_wall_ns=1)) as writer:
        writer.close(Counters())
    with pytest.raises(UsageError, match="language model"):
        run(source, tmp_path / "out.reel", Options(ner=True))
    assert [path.name for path in tmp_path.iterdir()] == ["in.reel"]
