"""Pairs of answers to the same recorded request, and how often each place of them differs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from replayer.kept import KeptResponse
from replayer.results import Int64s, Outcome, Run
from replayer.review.answers import Change, Example, Part
from replayer.review.bodies import Leniency, differences, read_body
from replayer.review.bodies_shown import shown, shown_text

MOST_EXAMPLES = 3
_MOST_PAIRS = 500  # kept answers of one endpoint compared between two runs, evenly spread
# What says nothing of its own: it follows from the body, from the connection or from the clock.
_SILENT_HEADERS = frozenset(
    b"content-length transfer-encoding connection keep-alive date age content-encoding trailer".split()
)

Flags = NDArray[np.bool_]
Kept = Mapping[int, KeptResponse]


class Place(NamedTuple):
    """Where answers differ, and how."""

    part: Part
    path: str
    change: Change


@dataclass(slots=True)
class Tally:
    """What pairs of answers of one endpoint differed in; ``runs`` counts each pair of runs by itself."""

    pairs: int = 0
    compared: int = 0  # pairs of kept answers of the same status
    bodies: int = 0
    places: Counter[Place] = field(default_factory=Counter)
    runs: list[Counter[Place]] = field(default_factory=list)
    examples: dict[Place, list[Example]] = field(default_factory=lambda: defaultdict(list))

    def total(self, part: Part) -> int:
        """Pairs in which a place of ``part`` could differ."""
        return {Part.STATUS: self.pairs, Part.HEADER: self.compared, Part.BODY: self.bodies}[part]


class _Joined(NamedTuple):
    """Rows of two runs that answered the same request, of shape (n,), in the order of the first."""

    before: NDArray[np.intp]
    after: NDArray[np.intp]


def tally_answers(
    pairs: Sequence[tuple[Run, Run]], leniency_of: Callable[[str], Leniency]
) -> dict[str, Tally]:
    """By endpoint label: what the answers of each pair of runs differ in, where ``leniency_of`` allows."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    for before, after in pairs:
        by_endpoint = list(_by_endpoint(before, _join(before, after)))
        flags = _is_kept(before), _is_kept(after)
        kept = [_kept_pairs(before, after, rows, flags) for _, rows in by_endpoint]
        # Kept answers are packed in blocks of neighbours, so all that are needed are read in row order.
        one, other = (
            {row: run.kept[row] for row in sorted(pair[side] for chosen in kept for pair in chosen)}
            for side, run in enumerate((before, after))
        )
        for (label, rows), chosen in zip(by_endpoint, kept, strict=True):
            places: Counter[Place] = Counter()
            tally = tallies[label]
            _count_statuses(tally, places, before, after, rows)
            _count_kept(
                tally,
                places,
                [(int(before.rows.seq[row]), one[row], other[at]) for row, at in chosen],
                leniency_of(label),
            )
            tally.places.update(places)
            tally.runs.append(places)
    return dict(tallies)


def _join(before: Run, after: Run) -> _Joined:
    """Rows of the same endpoint, recorded request and pass that were answered in both runs."""
    ours, theirs = before.header, after.header
    if ours.schedule_hash != theirs.schedule_hash and ours.capture_id != theirs.capture_id:
        return _Joined(np.empty(0, np.intp), np.empty(0, np.intp))
    one, other = _keys(before), _keys(after)
    if np.array_equal(one, other):
        at = other_at = np.arange(len(one))
    else:
        _, at, other_at = np.intersect1d(one, other, return_indices=True)
        order = np.argsort(at)
        at, other_at = at[order], other_at[order]
    number = {label: number for number, label in enumerate(theirs.endpoints)}
    same = np.array([number.get(label, -1) for label in ours.endpoints], np.int64)
    joined = same[before.rows.endpoint[at]] == after.rows.endpoint[other_at]
    joined &= before.rows.outcome[at] == Outcome.COMPLETED
    joined &= after.rows.outcome[other_at] == Outcome.COMPLETED
    return _Joined(at[joined], other_at[joined])


def _keys(run: Run) -> Int64s:
    keys: Int64s = (run.rows.instance.astype(np.int64) << 40) | run.rows.seq
    return keys


def _by_endpoint(run: Run, joined: _Joined) -> Iterator[tuple[str, _Joined]]:
    endpoint = run.rows.endpoint[joined.before]
    order = np.argsort(endpoint, kind="stable")
    numbers, starts = np.unique(endpoint[order], return_index=True)
    stops = [*starts[1:].tolist(), len(order)]
    for number, start, stop in zip(numbers.tolist(), starts.tolist(), stops, strict=False):
        chosen = order[start:stop]
        yield run.header.endpoints[number], _Joined(joined.before[chosen], joined.after[chosen])


def _count_statuses(tally: Tally, places: Counter[Place], before: Run, after: Run, rows: _Joined) -> None:
    status, other_status = before.rows.status[rows.before], after.rows.status[rows.after]
    tally.pairs += len(status)
    changed = np.flatnonzero(status != other_status)
    if not len(changed):
        return
    place = Place(Part.STATUS, "", Change.VALUE)
    places[place] = len(changed)
    for at in changed[:MOST_EXAMPLES].tolist():
        seq = int(before.rows.seq[rows.before[at]])
        _keep(tally, place, Example(seq=seq, before=str(status[at]), after=str(other_status[at])))


def _count_kept(
    tally: Tally,
    places: Counter[Place],
    kept: Sequence[tuple[int, KeptResponse, KeptResponse]],
    leniency: Leniency,
) -> None:
    for seq, one, other in kept:
        tally.compared += 1
        found = dict(_header_changes(one.headers, other.headers))
        if not one.truncated_bytes and not other.truncated_bytes:
            tally.bodies += 1
            found |= _body_changes(one, other, leniency)
        places.update(found.keys())
        for place, (before, after) in found.items():
            _keep(tally, place, Example(seq=seq, before=before, after=after))


def _keep(tally: Tally, place: Place, example: Example) -> None:
    kept = tally.examples[place]
    known = any((one.before, one.after) == (example.before, example.after) for one in kept)
    if len(kept) < MOST_EXAMPLES and not known:
        kept.append(example)


def _kept_pairs(
    before: Run, after: Run, rows: _Joined, is_kept: tuple[Flags, Flags]
) -> list[tuple[int, int]]:
    """Rows of both runs whose answers were kept and have one status, evenly spread if they are many."""
    like = before.rows.status[rows.before] == after.rows.status[rows.after]
    like &= is_kept[0][rows.before] & is_kept[1][rows.after]
    found = list(zip(rows.before[like].tolist(), rows.after[like].tolist(), strict=True))
    if len(found) <= _MOST_PAIRS:
        return found
    return [found[at * len(found) // _MOST_PAIRS] for at in range(_MOST_PAIRS)]


def _is_kept(run: Run) -> Flags:
    """Whether the answer of each row was kept, shape (n,)."""
    flags = np.zeros(len(run.rows), np.bool_)
    flags[np.fromiter(run.kept, np.int64, len(run.kept))] = True
    return flags


def _header_changes(
    before: Sequence[tuple[bytes, bytes]], after: Sequence[tuple[bytes, bytes]]
) -> Iterator[tuple[Place, tuple[str, str]]]:
    one, other = _headers(before), _headers(after)
    for name in dict.fromkeys([*one, *other]):
        if one.get(name) == other.get(name):
            continue
        change = Change.ADDED if name not in one else Change.MISSING if name not in other else Change.VALUE
        texts = [shown_text(", ".join(side[name]), name) if name in side else "-" for side in (one, other)]
        yield Place(Part.HEADER, name, change), (texts[0], texts[1])


def _headers(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name.lower() not in _SILENT_HEADERS:
            found.setdefault(name.lower().decode("latin-1"), []).append(value.decode("latin-1"))
    return found


def _body_changes(one: KeptResponse, other: KeptResponse, leniency: Leniency) -> dict[Place, tuple[str, str]]:
    if one.body == other.body and one.content_encoding == other.content_encoding:
        return {}
    found: dict[Place, tuple[str, str]] = {}
    for difference in differences(read_body(one), read_body(other), leniency):
        place = Place(Part.BODY, difference.path, difference.change)
        if place not in found:  # all elements of an array are one
            found[place] = (
                "-" if difference.change is Change.ADDED else shown(difference.before, difference.path),
                "-" if difference.change is Change.MISSING else shown(difference.after, difference.path),
            )
    return found
