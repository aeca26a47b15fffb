"""Text out of traffic as a part of a page: escaped, bounded, and read in the order it was written in."""

from __future__ import annotations

import re
from html import escape

from captures.text import clean
from replayer.review.report.wording import shortened

LONGEST_NAME = 120  # characters of one name, path or value
_LETTERS = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
_RIGHT_TO_LEFT = re.compile(f"[{_LETTERS}]+(?: [{_LETTERS}]+)*")


def escaped(text: str, most: int = LONGEST_NAME) -> str:
    """``text`` as the inside of an element or a quoted attribute: printable, escaped, not too long."""
    return escape(clean(shortened(text, most)))


def isolated(text: str, most: int = LONGEST_NAME, tag: str = "bdi") -> str:
    """
    ``escaped`` as the inside of an element in which words written from right to left stay in their place.

    Without that the segments of a path, and figures after it, would change places with such a word.
    Inside SVG the ``tag`` is ``tspan``.
    """
    return _RIGHT_TO_LEFT.sub(rf"<{tag}>\g<0></{tag}>", escaped(text, most))
