"""Which responses a run keeps, and how: gathered while it sends, anonymized before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from captures.errors import UsageError
from captures.model import Exchange, Headers, Provenance, Request, Response
from captures.units import MIB, parse_share
from replayer.answers import Answered, both, headers_of
from replayer.kept import KeptFacts, KeptResponse, KeptResponses
from replayer.results import RunRows
from replayer.schedule import UPGRADED, Schedule
from replayer.shown import by_sizes

BUDGET_BYTES = 64 * MIB
BATCH_BYTES = 2 * BUDGET_BYTES
"""What is anonymized at once: what is recognised in one of these is replaced in all of them."""
_HOW = "write none, all, mismatches, sample:1%, or mismatches,sample:1%"
_SECRET_HEADER = b"Authorization"


class Cleaner(Protocol):
    """Anonymizes exchanges that belong together: the same value gets the same stand-in in all of them."""

    @property
    def provenance(self) -> Provenance:
        """What may be said of how it was done."""
        ...

    def __call__(self, exchanges: Sequence[Exchange]) -> Iterable[Exchange]:
        """The same exchanges in the same order, fit to be stored."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """
    Which responses are kept: every one, those with another status than recorded, a share of all.

    The share (0 to 1) is chosen by exchange and pass alone, so runs of one schedule keep the same ones.
    ``budget_bytes`` bounds their heads and bodies as they came; first come, first kept.
    """

    clean: Cleaner = field(repr=False)
    everything: bool = False
    mismatches: bool = False
    sample: float = 0.0
    budget_bytes: int = BUDGET_BYTES

    @property
    def text(self) -> str:
        """The policy as it is written."""
        if self.everything:
            return "all"
        parts = ["mismatches"] if self.mismatches else []
        return ",".join([*parts, f"sample:{100 * self.sample:.9g}%"] if self.sample else parts)

    def sampled(self, schedule: Schedule) -> NDArray[np.bool_]:
        """The rows that are kept whatever they are answered; WebSocket sessions are not."""
        answers: NDArray[np.bool_] = schedule.recorded_status != UPGRADED
        if self.everything:
            return answers
        # One multiplication each and a final mix (that of splitmix64) spread neighbours evenly.
        with np.errstate(over="ignore"):
            mixed = schedule.seq.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= (schedule.instance.astype(np.uint64) + np.uint64(1)) * np.uint64(0xD1B54A32D192ED03)
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed ^= mixed >> np.uint64(31)
        drawn = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
        return answers & (drawn < self.sample)

    def wanted(self, schedule: Schedule) -> NDArray[np.bool_]:
        """The rows whose whole response has to be looked at."""
        return np.ones(len(schedule), np.bool_) if self.mismatches else self.sampled(schedule)


def parse_keep(text: str, *, clean: Callable[[], Cleaner], budget_bytes: int = BUDGET_BYTES) -> Keep | None:
    """
    What ``mismatches``, ``sample:1%``, ``mismatches,sample:1%`` or ``all`` asks for; None for ``none``.

    ``clean`` is called only when anything is kept.

    Raises:
        UsageError: it is none of these.

    """
    words = [word.strip() for word in text.split(",")]
    if words == ["none"]:
        return None
    samples = [word.removeprefix("sample:") for word in words if word.startswith("sample:")]
    known = {"all", "mismatches"}
    if len(set(words)) < len(words) or len(samples) > 1 or not known.issuperset(set(words) - _samples(words)):
        raise UsageError(f"{text!r} is no choice of responses to keep; {_HOW}.")
    if "all" in words and len(words) > 1:
        raise UsageError(f"{text!r} names all and more; {_HOW}.")
    sample = parse_share(samples[0]) if samples else 0.0
    if samples and not sample:
        raise UsageError(f"{text!r} keeps no share of the responses; {_HOW}.")
    return Keep(
        clean=clean(),
        everything="all" in words,
        mismatches="mismatches" in words,
        sample=sample,
        budget_bytes=budget_bytes,
    )


def _samples(words: Iterable[str]) -> set[str]:
    return {word for word in words if word.startswith("sample:")}


class Came(NamedTuple):
    """A response as it came; ``row`` is that of the schedule it was sent by."""

    row: int
    head: bytes
    body: bytes

    def __repr__(self) -> str:
        """Sizes alone."""
        return by_sizes(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The responses to keep, as they came, of one process or of a whole run."""

    came: Sequence[Came] = field(default=(), repr=False)
    over_budget: int = 0


class Keeper:
    """Gathers the responses of one process; ``came`` are those it took, ``over_budget`` had no room."""

    __slots__ = ("_left_bytes", "_mismatches", "_recorded", "_sampled", "came", "over_budget")

    def __init__(self, keep: Keep, schedule: Schedule, *, budget_bytes: int) -> None:
        self._mismatches = keep.mismatches
        self._recorded = schedule.recorded_status.data
        self._sampled = keep.sampled(schedule).data
        self._left_bytes = budget_bytes
        self.came: list[Came] = []
        self.over_budget = 0

    def answered(self, row: int, head: bytes, body: bytes) -> None:
        """Take a whole response, if it is one to keep and there is room."""
        if not self._sampled[row] and not (self._mismatches and self._is_mismatch(row, head)):
            return
        size_bytes = len(head) + len(body)
        if size_bytes > self._left_bytes:
            self.over_budget += 1
            return
        self._left_bytes -= size_bytes
        self.came.append(Came(row, head, body))

    def gathered(self) -> Gathered:
        """What it took."""
        return Gathered(came=self.came, over_budget=self.over_budget)

    def beside(self, answered: Answered) -> Answered:
        """What tells ``answered`` and this of a response."""
        return both(answered, self.answered)

    def _is_mismatch(self, row: int, head: bytes) -> bool:
        recorded: int = self._recorded[row]
        return recorded != 0 and int(head[head.find(b" ") :][:4]) != recorded


def clean_kept(
    keep: Keep,
    gathered: Gathered,
    rows: RunRows,
    request_of: Callable[[int], Request],
    secrets: Collection[bytes],
) -> tuple[KeptResponses, KeptFacts]:
    """
    What a run stores of its responses.

    ``request_of`` gives the captured request of a seq: what is recognised in it is replaced in the
    response too. ``secrets`` are those of the target, which may say them again. A run that was sent is
    not lost to this: what cannot be anonymized, or takes so long that somebody interrupts it, is
    left out and counted.
    """
    try:
        cleaned = _cleaned(keep, gathered.came, rows, request_of, secrets)
        kept = sorted(cleaned, key=lambda one: one.row)
    except (Exception, KeyboardInterrupt):  # noqa: BLE001  whatever it is, the times of the run stand
        kept = []
    facts = KeptFacts(
        policy=keep.text,
        budget_bytes=keep.budget_bytes,
        kept=len(kept),
        over_budget=gathered.over_budget,
        lost=len(gathered.came) - len(kept),
        anonymized=keep.clean.provenance,
    )
    return KeptResponses.of(kept), facts


def _cleaned(
    keep: Keep,
    came: Iterable[Came],
    rows: RunRows,
    request_of: Callable[[int], Request],
    secrets: Collection[bytes],
) -> Iterator[KeptResponse]:
    told = [_saying(number, secret) for number, secret in enumerate(sorted(secrets))]
    for batch in _batches(came, rows, request_of):
        exchanges = [
            _exchange(seq, one.request, one.headers, one.came.body, one.cut_bytes)
            for seq, one in enumerate(batch, start=len(told))
        ]
        cleaned = list(keep.clean([*told, *exchanges]))[len(told) :]
        for one, exchange in zip(batch, cleaned, strict=True):
            response = exchange.outcome
            assert isinstance(response, Response)
            yield KeptResponse(
                row=one.came.row,
                headers=response.headers,
                body=response.body,
                truncated_bytes=response.truncated_bytes,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    """A response that can be read, and the request that it is to; ``cut_bytes`` of it were not kept."""

    came: Came = field(repr=False)
    headers: Headers = field(repr=False)
    request: Request = field(repr=False)
    cut_bytes: int


def _batches(
    came: Iterable[Came], rows: RunRows, request_of: Callable[[int], Request]
) -> Iterator[list[_Whole]]:
    """
    The responses that can be read, with those to the same request in a row, about ``BATCH_BYTES`` at once.

    Requests count too: they are in no budget, and may be a hundred times their responses.
    """
    batch: list[_Whole] = []
    size_bytes = 0
    known: tuple[int, Request] | None = None
    for one in sorted(came, key=lambda one: (int(rows.seq[one.row]), one.row)):
        seq = int(rows.seq[one.row])
        headers = headers_of(one.head)
        if headers is None:
            continue  # a body whose coding is not known cannot be read, so it cannot be anonymized
        if known is None or known[0] != seq:
            known = seq, request_of(seq)
        cut_bytes = max(0, int(rows.response_bytes[one.row]) - len(one.body))
        batch.append(_Whole(came=one, headers=headers, request=known[1], cut_bytes=cut_bytes))
        size_bytes += len(known[1].body) + len(one.head) + len(one.body)
        if size_bytes >= BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _exchange(seq: int, request: Request, headers: Headers, body: bytes, cut_bytes: int) -> Exchange:
    response = Response(
        status=200,
        reason=b"",
        http_version=b"HTTP/1.1",
        headers=headers,
        offset_ns=seq,
        end_ns=seq,
        body=body,
        truncated_bytes=cut_bytes,
    )
    return Exchange(
        seq=seq, offset_ns=seq, request_end_ns=seq, connection=0, request=request, outcome=response
    )


def _saying(seq: int, secret: bytes) -> Exchange:
    """An exchange that makes ``secret`` known as one."""
    request = Request(
        method=b"GET",
        scheme=b"http",
        authority=b"",
        target=b"/",
        http_version=b"HTTP/1.1",
        headers=((_SECRET_HEADER, b"Bearer " + secret),),
    )
    return _exchange(seq, request, (), b"", 0)
