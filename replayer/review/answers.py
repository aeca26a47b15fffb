"""What a release answers differently, request by request: plain data that each report prints in its way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """Where in an answer something changed."""

    STATUS = "status"
    HEADER = "header"
    BODY = "body"


class Change(StrEnum):
    """What became of one place of an answer."""

    VALUE = "changed"
    TYPE = "changed type"
    MISSING = "missing"
    ADDED = "added"
    ORDER = "reordered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """
    One request whose answer changed; ``seq`` is its number in the capture.

    ``before`` and ``after`` are short texts in which nothing secret stands (see ``shown``).
    """

    seq: int
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerChange:
    """
    One place of an endpoint's answers that changed, and in how many of the joined requests.

    ``path`` is a JSON path (``$.items[*].total``) or a header's name, empty for the status.
    ``changed`` of ``compared`` pairs of answers to the same request differ there. ``p`` is how
    likely that is when the release answers as before, over all places of all endpoints
    together; ``sure`` says that it is too unlikely, and that the baseline never did it itself.
    """

    part: Part
    path: str
    change: Change
    changed: int
    compared: int
    p: float
    sure: bool
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedPlace:
    """A place that is not compared, and why: it differs between runs of the baseline, or a rule says so."""

    part: Part
    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAnswers:
    """
    The answers of one endpoint compared.

    ``pairs`` counts answers of both sides joined by recorded request, ``bodies`` those of them
    whose bodies were kept on both sides. ``noise_pairs`` counts pairs within the baseline, from
    which is known what differs by itself. ``left_out`` counts places beyond the most that are listed.
    """

    pairs: int
    bodies: int
    noise_pairs: int
    changes: tuple[AnswerChange, ...] = ()
    masked: tuple[MaskedPlace, ...] = ()
    left_out: int = 0

    @property
    def different(self) -> bool:
        """Whether any change is beyond doubt."""
        return any(change.sure for change in self.changes)
