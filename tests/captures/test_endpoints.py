"""Endpoint labels: shapes become {id}, crowded places too, memory stays bounded."""

from __future__ import annotations

import pytest

from captures import endpoints
from captures.endpoints import OVERFLOW_LABEL, EndpointTable, merge_labels, shape_label


@pytest.mark.parametrize(
    ("target", "label"),
    [
        (b"/api/runs/42", "GET /api/runs/{id}"),
        (b"/api/runs/0b0f2a6e-1111-4222-8333-444455556666/logs?x=1", "GET /api/runs/{id}/logs"),
        (b"/r/01ARZ3NDEKTSV4RRFFQ69G5FAV", "GET /r/{id}"),
        (b"/c/0123456789abcdef0123456789abcdef01234567", "GET /c/{id}"),
        (b"/", "GET /"),
        (b"/api/v1/users", "GET /api/v1/users"),
        (b"/deadbeefdeadbeef", "GET /deadbeefdeadbeef"),
        (b"/caf%C3%A9/12a", "GET /caf%C3%A9/12a"),
    ],
)
def test_segments_become_ids_by_shape(target: bytes, label: str) -> None:
    """Digits, UUIDs, ULIDs and long hex are ids; words and versions are not."""
    assert shape_label(b"GET", target) == label


def test_fifty_values_stay_and_fifty_one_fold() -> None:
    """A place folds when it has more than 50 distinct values, and only there."""
    fifty = [f"GET /u/name{n}/posts" for n in range(50)]
    assert merge_labels(fifty) == fifty
    many = [*fifty, "GET /u/one-more/posts", "GET /other"]
    assert merge_labels(many) == ["GET /u/{id}/posts"] * 51 + ["GET /other"]


def test_children_of_a_folded_place_are_counted_together() -> None:
    """Folding goes from the root on, so deep ids under many parents fold as well."""
    labels = [f"GET /u/n{n}/p/x{n}" for n in range(60)]
    assert set(merge_labels(labels)) == {"GET /u/{id}/p/{id}"}


def test_methods_are_kept_apart() -> None:
    """Distinct values count under one method only."""
    labels = [f"GET /u/a{n}" for n in range(30)] + [f"POST /u/b{n}" for n in range(30)]
    assert merge_labels(labels) == labels


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the cap all new labels share one number."""
    monkeypatch.setattr(endpoints, "MAX_LABELS", 3)
    table = EndpointTable()
    numbers = [table.add(b"GET", b"/x%d/y" % n + b"a") for n in range(10)]
    assert numbers[:3] == [0, 1, 2]
    assert set(numbers[3:]) == {3}
    assert table.labels[3] == OVERFLOW_LABEL


def test_long_labels_are_cut_and_told_apart() -> None:
    """Two long paths that differ at their ends keep two numbers; each label stays short."""
    table = EndpointTable()
    path = b"/" + b"w" * 5000
    numbers = [table.add(b"GET", path + end) for end in (b"a", b"b", b"a")]
    assert numbers == [0, 1, 0]
    assert [len(label) for label in table.labels] == [endpoints.MAX_LABEL_CHARS] * 2
    assert table.number(table.labels[1]) == 1
    assert merge_labels(table.labels) == table.labels


def test_all_labels_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many long paths there are, their labels fit into one block of the index."""
    monkeypatch.setattr(endpoints, "MAX_TOTAL_CHARS", 2000)
    table = EndpointTable()
    numbers = [table.add(b"GET", b"/%c" % (97 + n) + b"w" * 5000) for n in range(20)]
    assert numbers[:3] == [0, 1, 2]
    assert set(numbers[3:]) == {3}
    assert table.labels[3] == OVERFLOW_LABEL
