"""Which exchanges are recorded: conditions first, then a sample of whole sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from captures.conditions import Condition, any_holds
from captures.model import Exchange
from recorder.sampling import SessionSampler


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """
    What is recorded.

    An exchange that meets one of ``match`` (or there is none), none of ``ignore``, and whose
    session is in the sample.
    """

    match: Sequence[Condition] = ()
    ignore: Sequence[Condition] = ()
    sampler: SessionSampler | None = None

    def wants(self, exchange: Exchange) -> bool:
        """Whether ``exchange`` is recorded; to be asked once for each, in the order they end."""
        # The sampler sees every exchange: a login that is ignored still tells whose cookie it set.
        if self.sampler is not None and not self.sampler.wants(exchange):
            return False
        if self.match and not any_holds(self.match, exchange):
            return False
        return not any_holds(self.ignore, exchange)
