"""Who takes which exchanges: every one once, alike ones together, and the faster help the slower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer import shares
from anonymizer.shares import PIECES, Dealer, Piece, Window, windows
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header


def windows_of(path: Path, exchanges: Sequence[Any], processes: int) -> list[Window]:
    with CaptureWriter.create(path, new_header(source="test", started_wall_ns=1)) as writer:
        for exchange in exchanges:
            writer.write(exchange)
    with CaptureReader.open(path) as reader:
        return list(windows(reader.index, processes))


def some_windows(count: int, processes: int = 2) -> list[Window]:
    pieces = tuple((at,) for at in range(processes * PIECES))
    return [Window(first=at * 100, count=len(pieces), pieces=pieces) for at in range(count)]


def test_every_exchange_is_in_one_piece(
    tmp_path: Path, make_exchange: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows follow one another, and the pieces of each hold all of its places once."""
    monkeypatch.setattr(shares, "WINDOW_EXCHANGES", 30)
    made = windows_of(tmp_path / "a.reel", [make_exchange(at, body=b"x" * at) for at in range(100)], 3)
    assert [(window.first, window.count) for window in made] == [(0, 30), (30, 30), (60, 30), (90, 10)]
    for window in made:
        assert len(window.pieces) == 3 * PIECES
        assert sorted(place for piece in window.pieces for place in piece) == list(range(window.count))


def test_alike_exchanges_go_to_the_same_process(
    tmp_path: Path, make_exchange: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each window the same process gets those of one endpoint and size, whatever their order is."""
    monkeypatch.setattr(shares, "WINDOW_EXCHANGES", 40)
    kinds = [(b"/a", 100), (b"/b", 3_000), (b"/b", 9_000), (b"/c", 500)]
    order = [(at * 7 + at // 40) % 4 for at in range(160)]
    exchanges = [
        make_exchange(at, target=kinds[kind][0], body=b"x" * kinds[kind][1]) for at, kind in enumerate(order)
    ]
    takers: dict[int, set[int]] = {kind: set() for kind in range(4)}
    for window in windows_of(tmp_path / "a.reel", exchanges, 2):
        for at, piece in enumerate(window.pieces):
            for place in piece:
                takers[order[window.first + place]].add(at // PIECES)
    assert sum(map(len, takers.values())) <= 5  # one kind at most is shared by both


def test_a_window_is_bounded_by_its_bytes(
    tmp_path: Path, make_exchange: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large bodies make small windows, and one that is larger than a window is alone in it."""
    monkeypatch.setattr(shares, "WINDOW_BYTES", 1_000)
    sizes = [400, 400, 400, 5_000, 100, 100]
    made = windows_of(
        tmp_path / "a.reel", [make_exchange(at, body=b"x" * size) for at, size in enumerate(sizes)], 2
    )
    assert [window.count for window in made] == [2, 1, 1, 2]


def test_a_capture_without_exchanges_has_no_window(tmp_path: Path) -> None:
    """Nothing is dealt for it."""
    assert windows_of(tmp_path / "a.reel", [], 2) == []
    dealer: Dealer[int] = Dealer(iter(()))
    assert dealer.deal(0) is None
    assert dealer.finished


def test_everybody_begins_with_what_suits_it() -> None:
    """As long as there are pieces of its own in any open window, a process gets no other one."""
    dealer: Dealer[Piece] = Dealer(iter(some_windows(2)))
    first, second = ([dealer.deal(process) for _ in range(2 * PIECES)] for process in (0, 1))
    assert {piece.places[0] // PIECES for piece in first if piece} == {0}
    assert {piece.places[0] // PIECES for piece in second if piece} == {1}


def test_who_is_faster_helps_the_slower_at_the_oldest_window() -> None:
    """When its own are done, a process gets those of others: the oldest first, and next to its own."""
    dealer: Dealer[Piece] = Dealer(iter(some_windows(2)))
    own = [dealer.deal(0) for _ in range(2 * PIECES)]
    assert None not in own
    helped = dealer.deal(0)
    assert helped is not None
    assert (helped.first, helped.places) == (0, (PIECES,))


def test_few_windows_are_open_at_a_time() -> None:
    """A process that ran ahead has to wait for the slowest one, so memory is bounded."""
    dealer: Dealer[Piece] = Dealer(iter(some_windows(50)))
    dealt = 0
    while (piece := dealer.deal(0)) is not None:
        dealer.answer(0, piece)
        dealt += 1
        if dealt == 1:
            held = dealer.deal(1)
    assert held is not None
    assert dealt < 4 * 2 * PIECES
    assert dealer.whole() is None
    dealer.answer(1, held)
    assert dealer.whole() is not None


@given(turns=st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=200), count=st.integers(0, 7))
def test_all_is_dealt_once_and_comes_back_in_order(turns: list[tuple[int, bool]], count: int) -> None:
    """Whoever asks and answers when, every piece is dealt once, and windows come back whole and in order."""
    expected = some_windows(count, 3)
    dealer: Dealer[Piece] = Dealer(iter(expected))
    held: list[list[Piece]] = [[], [], []]
    done: list[list[Piece]] = []
    rest = [
        (process, asks)
        for _ in range(count * 3 * PIECES + 1)
        for process in range(3)
        for asks in (True, False)
    ]
    for process, asks in (*turns, *rest):
        if asks:
            piece = dealer.deal(process)
            if piece is not None:
                held[process].append(piece)
        elif held[process]:
            dealer.answer(process, held[process].pop(0))
        while (answers := dealer.whole()) is not None:
            done.append(answers)
    assert dealer.finished
    assert [sorted(piece.places for piece in answers) for answers in done] == [
        sorted(window.pieces) for window in expected
    ]
    assert [{piece.first for piece in answers} for answers in done] == [{window.first} for window in expected]
