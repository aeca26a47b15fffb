"""What one JSON document teaches about those that differ from it in what comes once alone."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from anonymizer.document import HEX_BYTES, HOLE, START, Labels, Outcome, Passing, Told, forms
from anonymizer.literals import Literals
from anonymizer.templates import Hole, Span, Template
from captures.bodies import json
from captures.bodies.edits import Edit, splice

NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")
_PLAIN_NUMBER = re.compile(rb"[1-9][0-9]{0,11}")
MIN_NUMBER_BYTES = 10
"""Shorter numbers are looked at under telling keys alone."""


def number_passes(text: bytes, literals: Literals | None) -> bool:
    """Whether the JSON number ``text`` is no known value, and none that is found by its shape."""
    if len(text) < MIN_NUMBER_BYTES:
        return True
    return _PLAIN_NUMBER.fullmatch(text) is not None and (literals is None or not literals.is_number(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """
    A document that was scrubbed string by string.

    ``forms`` has for each string what is known of those with holes at places like its own, None where
    it is a key or its place tells. ``telling`` are the numbers whose place tells, ``outcomes`` those of
    the strings; ``edits`` replace numbers in what is between them. Strings at ``slots`` are known to
    differ.
    """

    data: bytes
    forms: Sequence[Mapping[bytes, Outcome] | None]
    telling: frozenset[int]
    outcomes: Sequence[Outcome | None]
    edits: Sequence[Edit]
    slots: frozenset[int]

    def template(
        self,
        literals: Literals | None,
        told: Callable[[tuple[Labels, ...]], Told | None],
        outcomes: Callable[[Sequence[bytes]], Sequence[Outcome]],
    ) -> Template:
        """The template of documents like this one; see there for ``told`` and ``outcomes``."""
        parts, marked = json.cut(self.data) or json.Cut([], marked=False)
        starts = [0, *accumulate(len(part) + 1 for part in parts)]
        rest, strings = b'"'.join(parts[::2]), parts[1::2]
        news = [START + outcome[0] if outcome else START for outcome in self.outcomes]
        spans: list[Span] = []
        for at in self.slots:
            spans.append(Span(starts[2 * at + 1], starts[2 * at + 2] - 1, Hole.SLOT))
            news[at] = START + HOLE
        windows: list[tuple[int, int]] = []
        for at, new, passing in self._with_known_forms(strings, literals):
            start = starts[2 * at + 1] - 1
            windows.append((start, starts[2 * at + 2] - 1))
            for first, last in passing:
                hole = Hole.HASH if last - first in HEX_BYTES else Hole.NUMBER
                spans.append(Span(start + first, start + last, hole))
            news[at] = new
        rest_starts = [0, *accumulate(len(part) + 1 for part in parts[::2])]
        numbers: list[Edit] = []
        for start, stop in self._passing_numbers(rest, literals):
            at = bisect_right(rest_starts, start) - 1
            by = starts[2 * at] - rest_starts[at]
            spans.append(Span(start + by, stop + by, Hole.NUMBER))
            numbers.append(Edit(start, stop, HOLE))
        spans.sort(key=lambda span: span.start)
        if literals is not None:
            parts[::2] = splice(rest, [*self.edits, *numbers]).split(b'"')
            parts[1::2] = [new + b'"' for new in news]
        new = b"".join(parts)
        new = json.unmarked(new) if marked else new
        return Template(self.data, spans, windows, new, literals, told, outcomes, self.slots)

    def _with_known_forms(
        self, strings: Sequence[bytes], literals: Literals | None
    ) -> Iterator[tuple[int, bytes, list[tuple[int, int]]]]:
        """The strings in which something passes, what becomes of all that are like them, and where it is."""
        known = [
            (at, own, strings[at])
            for at, own in enumerate(self.forms)
            if own is not None and strings[at] and at not in self.slots and b"\\" not in strings[at]
        ]
        found = [
            (at, own[form][0], form)
            for (at, own, _), form in zip(known, forms([text for _, _, text in known]), strict=True)
            if HOLE in form and form in own
        ]
        passing = Passing([strings[at] for at, _, _ in found])
        special = passing.special(literals) if found else set()
        values = iter(passing.values)
        for number, (at, new, form) in enumerate(found):
            spans: list[tuple[int, int]] = []
            stop = 0
            for between in form.split(HOLE)[:-1]:
                start = stop + len(between)
                stop = start + len(next(values))
                spans.append((start, stop))
            if number not in special:
                yield at, new, spans

    def _passing_numbers(self, rest: bytes, literals: Literals | None) -> Iterator[tuple[int, int]]:
        """The numbers between the strings that could as well be others."""
        for at, match in enumerate(NUMBER.finditer(rest)):
            text = match[0]
            if at not in self.telling and text.isdigit() and number_passes(text, literals):
                yield match.span()
