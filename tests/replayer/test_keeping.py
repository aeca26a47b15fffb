"""Which responses are kept, within what budget, and that nothing is stored before it was anonymized."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from captures.errors import UsageError
from captures.model import Exchange, Provenance, Request, Response
from replayer.keeping import Came, Gathered, Keep, Keeper, clean_kept, parse_keep
from replayer.load import Load
from replayer.results import _COLUMN_TYPES, RunRows
from replayer.schedule import UPGRADED, Schedule

Make = Callable[..., Any]
Send = Callable[..., Any]
Serve = Callable[..., Any]
PLAIN = b"HTTP/1.1 %d OK\r\nContent-Type: text/plain"
PLAIN_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%s"


class Shouting:
    """A cleaner that can be seen: bodies come out in capitals."""

    provenance = Provenance(policy="loud", key_fingerprint="f")

    def __init__(self, fail: BaseException | None = None) -> None:
        self.saw: list[Exchange] = []
        self._fail = fail

    def __call__(self, exchanges: Sequence[Exchange]) -> Iterable[Exchange]:
        self.saw = list(exchanges)
        if self._fail is not None:
            raise self._fail
        for exchange in exchanges:
            assert isinstance(exchange.outcome, Response)
            yield replace(exchange, outcome=replace(exchange.outcome, body=exchange.outcome.body.upper()))


def schedule_of(statuses: Sequence[int], instances: int = 1) -> Schedule:
    rows = len(statuses) * instances
    return Schedule(
        seq=np.tile(np.arange(len(statuses)), instances),
        due_ns=np.arange(rows),
        endpoint=np.zeros(rows, np.uint32),
        connection=np.zeros(rows, np.uint32),
        recorded_status=np.tile(np.array(statuses, np.uint16), instances),
        instance=np.repeat(np.arange(instances, dtype=np.uint32), len(statuses)),
        load=Load(),
        pace=Fraction(1),
    )


def rows_of(count: int, response_bytes: int) -> RunRows:
    columns: dict[str, Any] = {name: np.zeros(count, dtype) for name, dtype in _COLUMN_TYPES.items()}
    columns["seq"] = np.arange(100, 100 + count)
    columns["response_bytes"] = np.full(count, response_bytes, np.uint32)
    return RunRows(**columns)


def request_of(seq: int) -> Request:
    return Request(
        method=b"GET",
        scheme=b"http",
        authority=b"h",
        target=b"/%d" % seq,
        http_version=b"HTTP/1.1",
        headers=(),
    )


def kept_rows(keep: Keep, schedule: Schedule, statuses: Sequence[int]) -> list[int]:
    keeper = Keeper(keep, schedule, budget_bytes=keep.budget_bytes)
    for row, status in enumerate(statuses):
        keeper.answered(row, PLAIN % status, b"body")
    return [one.row for one in keeper.came]


@pytest.mark.parametrize(
    ("text", "everything", "mismatches", "sample"),
    [
        ("all", True, False, 0.0), ("mismatches", False, True, 0.0), ("sample:1%", False, False, 0.01),
        ("mismatches,sample:0.5", False, True, 0.5), (" sample:100% , mismatches ", False, True, 1.0),
    ],
)  # fmt: skip
def test_policies_are_read_and_written(text: str, everything: bool, mismatches: bool, sample: float) -> None:
    """What was read says the same when it is written and read again."""
    keep = parse_keep(text, clean=Shouting)
    assert keep is not None
    assert (keep.everything, keep.mismatches, keep.sample) == (everything, mismatches, sample)
    again = parse_keep(keep.text, clean=lambda: keep.clean)
    assert again == keep


def test_none_keeps_nothing_and_makes_no_cleaner() -> None:
    """Without anything to keep no key is made and no detector loaded."""

    def never() -> Shouting:
        raise AssertionError

    assert parse_keep("none", clean=never) is None


@pytest.mark.parametrize(
    "text",
    ["", "some", "all,mismatches", "sample", "sample:0%", "sample:200%", "sample:1%,sample:2%", "none,all",
     "mismatches,mismatches"],
)  # fmt: skip
def test_what_is_no_policy_is_refused(text: str) -> None:
    """One sentence, before anything is sent."""
    with pytest.raises(UsageError, match=r"\."):
        parse_keep(text, clean=Shouting)


def test_mismatches_are_those_with_another_status_than_recorded() -> None:
    """A recorded failure has no status to compare with; HTTP/2 heads are read too."""
    keep = Keep(clean=Shouting(), mismatches=True)
    schedule = schedule_of([200, 200, 0, 404])
    assert kept_rows(keep, schedule, [200, 500, 500, 404]) == [1]
    keeper = Keeper(keep, schedule, budget_bytes=1000)
    keeper.answered(0, b"HTTP/2 503\r\na: b", b"")
    keeper.answered(1, b"HTTP/2 200\r\na: b", b"")
    assert [one.row for one in keeper.came] == [0]
    assert keep.wanted(schedule).all()


def test_a_sample_is_the_same_in_every_run_and_of_its_size() -> None:
    """It goes by exchange and pass: about its share, in each pass another one, mismatches beside it."""
    keep = Keep(clean=Shouting(), sample=0.1)
    schedule = schedule_of([200] * 5000, instances=4)
    chosen = keep.sampled(schedule)
    assert abs(int(chosen.sum()) - 2000) < 4 * 43  # four standard deviations
    passes = chosen.reshape(4, -1)
    assert len({one.tobytes() for one in passes}) == 4
    assert np.array_equal(Keep(clean=Shouting(), sample=0.1).sampled(schedule), chosen)
    assert Keep(clean=Shouting(), sample=1.0).sampled(schedule).all()
    both = Keep(clean=Shouting(), sample=0.1, mismatches=True)
    statuses = [200] * 20_000
    mismatch = int(np.flatnonzero(~chosen)[0])
    statuses[mismatch] = 500
    assert kept_rows(both, schedule, statuses) == sorted([*np.flatnonzero(chosen).tolist(), mismatch])


def test_a_websocket_session_has_no_response_to_keep() -> None:
    """Its messages are rows of their own; a refusal is a mismatch like any other."""
    keep = Keep(clean=Shouting(), everything=True)
    assert keep.sampled(schedule_of([200, UPGRADED])).tolist() == [True, False]
    assert kept_rows(Keep(clean=Shouting(), mismatches=True), schedule_of([UPGRADED]), [403]) == [0]


def test_what_finds_no_room_is_counted() -> None:
    """Heads count too; a smaller response behind one that is too large still fits."""
    keeper = Keeper(Keep(clean=Shouting(), everything=True), schedule_of([200] * 3), budget_bytes=100)
    for row, size in enumerate((40, 40, 10)):
        keeper.answered(row, b"h" * 5, b"b" * size)
    assert [one.row for one in keeper.came] == [0, 1]
    assert keeper.over_budget == 1


def test_what_is_kept_was_anonymized_first() -> None:
    """The cleaner sees the captured request, coding and cut, and the target's secrets before all else."""
    clean = Shouting()
    gathered = Gathered(
        came=[Came(2, PLAIN % 200, b"two"), Came(0, b"HTTP/2 200\r\ncontent-encoding: br", b"none")],
        over_budget=5,
    )
    kept, facts = clean_kept(
        Keep(clean=clean, everything=True), gathered, rows_of(3, 4), request_of, {b"sesame"}
    )
    assert {row: kept.body(row) for row in kept} == {0: b"NONE", 2: b"TWO"}
    assert [kept[row].truncated_bytes for row in kept] == [0, 1]
    assert kept[0].content_encoding == b"br"
    assert clean.saw[0].request.headers == ((b"Authorization", b"Bearer sesame"),)
    assert [exchange.request.target for exchange in clean.saw[1:]] == [b"/100", b"/102"]
    assert (facts.kept, facts.over_budget, facts.lost) == (2, 5, 0)
    assert facts.anonymized == Shouting.provenance


def test_large_requests_are_anonymized_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests count, a request with all its responses once read; the target's secrets come first in each."""
    monkeypatch.setattr("replayer.keeping.BATCH_BYTES", 2_000)
    batches: list[list[Exchange]] = []
    asked: list[int] = []

    class Counting(Shouting):
        def __call__(self, exchanges: Sequence[Exchange]) -> Iterable[Exchange]:
            batches.append(list(exchanges))
            return super().__call__(exchanges)

    def large(seq: int) -> Request:
        asked.append(seq)
        return replace(request_of(seq), body=b"x" * 900)

    rows = rows_of(12, 4)
    rows.seq[:] = np.tile(np.arange(100, 106), 2)
    gathered = Gathered(came=[Came(row, PLAIN % 200, b"%d" % row) for row in range(12)])
    kept, facts = clean_kept(Keep(clean=Counting(), everything=True), gathered, rows, large, {b"sesame"})
    assert {row: kept.body(row) for row in kept} == {row: b"%d" % row for row in range(12)}
    assert list(kept) == list(range(12))
    assert asked == list(range(100, 106))
    assert [len(batch) for batch in batches] == [4, 4, 4, 4]
    assert all(batch[0].request.headers[0][1] == b"Bearer sesame" for batch in batches)
    assert (facts.kept, facts.lost) == (12, 0)


@pytest.mark.parametrize("error", [ValueError("sesame"), KeyboardInterrupt()])
def test_a_run_is_not_lost_to_what_it_keeps(error: BaseException) -> None:
    """When anonymizing fails or is interrupted nothing is kept, and counted."""
    gathered = Gathered(came=[Came(0, PLAIN % 200, b"body")])
    keep = Keep(clean=Shouting(error), everything=True)
    kept, facts = clean_kept(keep, gathered, rows_of(1, 4), request_of, ())
    assert (len(kept), facts.kept, facts.lost) == (0, 0, 1)


def test_a_response_whose_head_cannot_be_read_is_lost() -> None:
    """Its body's coding is not known, so nothing could be recognised in it; the others stay."""
    came = [Came(0, b"HTTP/1.1 200 OK\r\nno colon", b"body"), Came(1, PLAIN % 200, b"body")]
    kept, facts = clean_kept(
        Keep(clean=Shouting(), everything=True), Gathered(came=came), rows_of(2, 4), request_of, ()
    )
    assert (list(kept), facts.lost) == ([1], 1)


CHUNKED = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n5\r\nhello\r\n",
    b"6\r\n world\r\n0\r\n\r\n",
)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_has_the_final_head_and_the_body_without_transfer_coding(
    exchange: Make, send: Send, serve: Serve, answer: Make, workers: int
) -> None:
    """Of any process that sent it, at the row of its exchange; an answer to HEAD has no body."""

    def respond(seen: Any) -> Any:
        if seen.request.method == b"HEAD":
            return answer((b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\nX-A: b\r\n\r\n",))
        return answer(CHUNKED if seen.request.target == b"/3" else (PLAIN_OK % seen.request.target,))

    exchanges = [
        exchange(
            n, offset_ns=n * 5_000_000, connection=n % 4, target=b"/%d" % n,
            method=b"HEAD" if n == 5 else b"GET",
        )
        for n in range(8)
    ]  # fmt: skip
    keep = Keep(clean=Shouting(), everything=True)
    run = send(exchanges, serve(respond).url, keep=keep, workers=workers).run
    assert list(run.kept) == list(range(8))
    for row in range(8):
        body = run.kept[row].body
        assert body == {3: b"HELLO WORLD", 5: b""}.get(int(run.rows.seq[row]), b"/%d" % run.rows.seq[row])
        assert run.kept[row].truncated_bytes == 0
    assert dict(run.kept[3].headers) == {b"Transfer-Encoding": b"chunked", b"Content-Type": b"text/plain"}
    assert dict(run.kept[5].headers)[b"X-A"] == b"b"
    assert run.header.kept is not None
    assert run.header.kept.kept == 8


def test_what_breaks_or_streams_is_not_kept(exchange: Make, send: Send, serve: Serve, answer: Make) -> None:
    """A response that never came whole has no body to compare, and a stream has messages."""

    def respond(seen: Any) -> Any:
        if seen.request.target == b"/1":
            return answer((b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nhalf",), close=True)
        if seen.request.target == b"/2":
            return answer((b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n",))
        return answer((PLAIN_OK % b"/x",))

    exchanges = [exchange(n, connection=n, target=b"/%d" % n) for n in range(2)]
    exchanges.append(exchange(2, connection=2, target=b"/2", stream_ns=50_000_000))
    run = send(exchanges, serve(respond).url, keep=Keep(clean=Shouting(), everything=True)).run
    assert list(run.kept) == [0]


def test_a_run_that_keeps_nothing_says_so(exchange: Make, send: Send, serve: Serve) -> None:
    """No facts, no responses, no note."""
    run = send([exchange(0)], serve().url).run
    assert (run.header.kept, len(run.kept)) == (None, 0)
    assert not any("kept" in note for note in run.header.notes)
