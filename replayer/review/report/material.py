"""What every report is made of: one comparison, and the runs it came from."""

from __future__ import annotations

from dataclasses import dataclass

from replayer.review.sides import NamedRun
from replayer.review.verdict import Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """
    A comparison with its runs, for the formats that show more than verdicts.

    ``command`` makes the same report again when it is run beside the same files.
    """

    comparison: Comparison
    baseline: tuple[NamedRun, ...]
    candidate: tuple[NamedRun, ...]
    command: str
