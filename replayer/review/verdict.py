"""What a review says: every type here is plain data that each report writer prints in its own way."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from replayer.review.answers import EndpointAnswers
from replayer.review.noise_rules import Rule
from replayer.review.slo import Objective, ObjectiveResult, Proof

QUANTILES = (0.5, 0.95, 0.99)
EXIT_NO = 3
EXIT_INVALID = 4
EXIT_INCONCLUSIVE = 5


class Verdict(StrEnum):
    """
    The answer for one endpoint, or for the whole release.

    BEHAVES DIFFERENTLY: the mix of statuses and failures changed by more than chance; response
    times are then no fair comparison, so this is said first and instead of any other verdict.
    SLOWER, FASTER: a change that is significant and larger than the effect floor.
    SAME: a change as large as the margin is ruled out (an equivalence test, not a missing alarm).
    INCONCLUSIVE: neither; what the next comparison would see stands beside it.
    INVALID: a run that did not keep its schedule is among the runs; nothing was compared.
    """

    BEHAVES_DIFFERENTLY = "BEHAVES DIFFERENTLY"
    SLOWER = "SLOWER"
    INCONCLUSIVE = "INCONCLUSIVE"
    SAME = "SAME"
    FASTER = "FASTER"
    INVALID = "INVALID"

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 3 the answer is no, 4 invalid, otherwise 0."""
        if self in (Verdict.SLOWER, Verdict.BEHAVES_DIFFERENTLY):
            return EXIT_NO
        return EXIT_INVALID if self is Verdict.INVALID else 0


class Evidence(StrEnum):
    """What carries a comparison: tests between runs, or resampling inside too few runs."""

    RUNS = "runs"
    BOOTSTRAP = "single-run bootstrap"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileResult:
    """
    One quantile of one endpoint's response time, compared.

    ``baseline_ns`` and ``candidate_ns`` are geometric means over a side's runs; ``ratio`` is
    candidate / baseline, without what moved all endpoints where that was taken off, ``ci`` its 95 %
    confidence interval, ``mde`` the smallest change (0.12 is 12 %) that the next comparison of as many
    runs finds four times out of five, ``noise`` the change that nineteen of twenty identical pairs stay
    below, by these runs or by earlier reviews, whichever is more. ``held_back`` says that only the
    latter keeps it from being SLOWER or FASTER.
    ``baseline_runs_ns`` and ``candidate_runs_ns`` are the Harrell-Davis estimates of the single runs,
    in the order the runs were made.
    """

    quantile: float
    verdict: Verdict
    baseline_ns: float
    candidate_ns: float
    ratio: float
    ci: tuple[float, float]
    p: float
    p_adjusted: float
    mde: float
    noise: float
    fragile: bool
    held_back: bool = False
    baseline_runs_ns: tuple[float, ...] = ()
    candidate_runs_ns: tuple[float, ...] = ()

    @property
    def delta_ns(self) -> float:
        """Candidate - baseline."""
        return self.candidate_ns - self.baseline_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusMix:
    """
    How often each status or failure came on each side.

    ``baseline`` and ``candidate`` count by status (``"202"``) or by what went wrong instead
    (``"dropped"``, ``"timeout"``). ``changed`` lists those that differ by more than chance.
    ``dispersion`` is how much more a side's own runs differ than chance allows (1 is chance).
    """

    baseline: dict[str, int]
    candidate: dict[str, int]
    p: float
    p_adjusted: float
    different: bool
    changed: tuple[str, ...]
    dispersion: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointResult:
    """
    The review of one endpoint.

    ``outcome`` is the status class whose response times were compared (``"2xx"``), empty when
    none could be. ``deciding`` is the quantile that stands for the verdict, None without one.
    ``suspected`` is what an INCONCLUSIVE endpoint seems to be, SLOWER or FASTER, not surely enough to
    be named. ``advice`` says what to do about an endpoint that could not be judged. ``answers``
    compares the answers to the same requests, None where no request was answered on both sides.
    """

    endpoint: str
    verdict: Verdict
    outcome: str
    statuses: StatusMix
    baseline_requests: int
    candidate_requests: int
    quantiles: tuple[QuantileResult, ...] = ()
    deciding: QuantileResult | None = None
    suspected: Verdict | None = None
    warnings: tuple[str, ...] = ()
    advice: str = ""
    answers: EndpointAnswers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """
    One run as a report names it.

    ``saturated`` says how its target fell behind, empty when it kept up; ``host_class`` is that of the
    machine that sent, empty where the run does not say.
    """

    name: str
    run_id: str
    target: str
    speed: str
    requests: int
    failed: int
    dropped: int
    invalid_reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    saturated: str = ""
    host_class: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """
    What the reviewer asks for.

    ``margin`` is the relative change that matters (0.05 is 5 %), ``floor_ns`` the absolute one;
    a change must exceed both to be called. ``paired`` says that the runs of both sides were
    interleaved, so that the n-th of each belong together. ``allow_mismatch`` compares runs of
    different schedules, speeds or machines. ``objectives`` are judged on the candidate's runs alone.
    ``rules`` say what is no difference between two answers.
    """

    margin: float = 0.05
    floor_ns: int = 1_000_000
    paired: bool = False
    allow_mismatch: bool = False
    objectives: tuple[Objective, ...] = ()
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """
    A whole review: endpoints stand in order of harm, worst first.

    ``shared_shift`` is the ratio by which the middle endpoint moved; None with too few endpoints.
    ``shared_taken_off`` says that this is no more than runs do, so that ratios are without it.
    """

    verdict: Verdict
    evidence: Evidence
    options: Options
    baseline: tuple[RunSummary, ...]
    candidate: tuple[RunSummary, ...]
    endpoints: tuple[EndpointResult, ...] = ()
    tests: int = 0
    assumed_run_sd: dict[float, float] = field(default_factory=dict)
    shared_shift: float | None = None
    shared_taken_off: bool = False
    warnings: tuple[str, ...] = ()
    objectives: tuple[ObjectiveResult, ...] = ()

    def exit_code(self, *, strict: bool = False) -> int:
        """
        What the command line ends with: the verdict's, or 3 for a missed objective.

        When ``strict`` also 5 for not knowing: any endpoint INCONCLUSIVE, whatever the others are, none
        compared at all, or any objective NOT PROVEN.
        """
        missed = any(result.proof is Proof.MISSED for result in self.objectives)
        verdicts = {self.verdict, *(endpoint.verdict for endpoint in self.endpoints)}
        unsure = Verdict.INCONCLUSIVE in verdicts or any(
            result.proof is Proof.NOT_PROVEN for result in self.objectives
        )
        code = self.verdict.exit_code or (EXIT_NO if missed else 0)
        return code or (EXIT_INCONCLUSIVE if strict and unsure else 0)
