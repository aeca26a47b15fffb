"""The two passes over the same exchanges: the first one collects every value, the second one replaces."""

from __future__ import annotations

from anonymizer.fields import Fields, Watcher
from anonymizer.last_resort import LastResort
from anonymizer.literals import Literals
from anonymizer.policy import Policy
from anonymizer.pseudonyms import PseudonymTable
from anonymizer.report import Report
from anonymizer.scrubber import Scrubber
from captures.keys import Prf


class Passes:
    """
    What both passes have in common, and the scrubber of each.

    All that is sensitive goes through ``collecting`` first, then through ``replacing()``. ``watcher``
    hears of every field in the second pass.
    """

    def __init__(self, policy: Policy, prf: Prf, report: Report, watcher: Watcher | None = None) -> None:
        self._policy = policy
        self._prf = prf
        self._report = report
        self._watcher = watcher
        self.table = PseudonymTable(prf, policy)
        """The values that were collected so far."""
        self._collector = Scrubber(prf, policy, self.table)
        self.collecting = self._scrubs(self._collector)

    def replacing(self) -> LastResort:
        """What replaces the values; there is nothing to be collected from now on."""
        self.table.freeze()
        self._report.distinct_values = len(self.table)
        literals = Literals(self.table, self._policy)
        layouts = self._collector.layouts
        return self._scrubs(Scrubber(self._prf, self._policy, self.table, literals, layouts))

    def _scrubs(self, scrubber: Scrubber) -> LastResort:
        fields = None
        if self._policy.rules or self._watcher is not None:
            collecting = scrubber.collecting
            fields = Fields(self._policy, self.table, collecting=collecting, watcher=self._watcher)
        return LastResort(scrubber, self._policy, self._report, fields)
