"""Bodies that come again: the same result and the same counts as the first time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from anonymizer import body_scrubber, tally

JSON = (b"Content-Type", b"application/json")
BODY = json.dumps({"login": "wthackeray", "email": "jane.doe@corp-nine.io", "pad": "y" * 300}).encode()
RAGGED = BODY + b" end"


def test_a_repeated_body_is_counted_each_time(make_exchange: Any, anonymized: Any) -> None:
    """Three equal bodies come out equal, and the report counts all of them under their endpoints."""
    ones = [
        make_exchange(seq, target=b"/a" if seq else b"/b", headers=(JSON,), body=BODY) for seq in range(3)
    ]
    result = anonymized(*ones)
    assert len({one.request.body for one in result.exchanges}) == 1
    rows = [row for row in result.report.as_dict()["fields"] if row["field"] == "request.body.login"]
    assert [(row["endpoint"], row["count"]) for row in rows] == [("POST /a", 2), ("POST /b", 1)]


def test_equal_bytes_of_another_type_are_read_anew(make_exchange: Any, anonymized: Any) -> None:
    """The same bytes as JSON, as text and cut short do not share a result."""
    result = anonymized(
        make_exchange(0, headers=(JSON,), body=RAGGED),
        make_exchange(1, headers=((b"Content-Type", b"multipart/form-data; boundary=q"),), body=RAGGED),
        make_exchange(2, headers=(JSON,), body=RAGGED, truncated_bytes=9),
        make_exchange(3, headers=(JSON, (b"Content-Encoding", b"gzip")), body=RAGGED),
    )
    first, second, cut, unread = (one.request.body for one in result.exchanges)
    assert first == second
    assert cut != first
    assert unread == bytes(len(RAGGED))


def test_unreadable_bodies_are_counted_each_time(make_exchange: Any, anonymized: Any) -> None:
    """A body that cannot be read is counted as often as it comes, whatever its size."""
    big, small = b"\x00" * 500, b"\x00" * 5
    result = anonymized(*[make_exchange(seq, body=body) for seq, body in enumerate([big, small] * 3)])
    assert sum(result.report.undecodable.values()) == 6


def test_what_is_remembered_is_bounded(
    make_exchange: Any, anonymized: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for one body alone everything comes out as with room for all."""
    bodies = [BODY.replace(b"yyy", b"%03d" % number, 1) for number in range(4)] * 2
    bodies += [body + b" end" for body in bodies]  # not quite JSON, so that whole bodies are remembered
    ones = [make_exchange(seq, headers=(JSON,), body=body) for seq, body in enumerate(bodies)]
    roomy = anonymized(*ones)
    monkeypatch.setattr(tally, "_MAX_BYTES", len(BODY))
    monkeypatch.setattr(body_scrubber, "_MAX_SEEN", 1)
    narrow = anonymized(*ones)
    assert narrow.exchanges == roomy.exchanges
    assert narrow.report.as_dict() == roomy.report.as_dict()


def test_query_counts_do_not_go_to_bodies(make_exchange: Any, anonymized: Any) -> None:
    """What is replaced in a query is counted there once, also beside a body."""
    result = anonymized(
        make_exchange(0, target=b"/a?email=jane.doe%40corp-nine.io", headers=(JSON,), body=BODY)
    )
    counts = {(row["kind"], row["field"]): row["count"] for row in result.report.as_dict()["fields"]}
    assert counts["email", "request.query.email"] == 1
    assert counts["email", "request.body.email"] == 1


def test_an_unreadable_header_counts_where_it_stands(make_exchange: Any, anonymized: Any) -> None:
    """Metadata that are no base64 are not counted for the body that comes next."""
    result = anonymized(
        make_exchange(0, target=b"/a", headers=((b"X-Meta-bin", b"~~"),)),
        make_exchange(1, target=b"/b", headers=(JSON,), body=RAGGED),
    )
    assert result.report.undecodable == {("POST /a", "request.header.x-meta-bin"): 1}


def test_a_value_that_was_cut_goes_whole(through: Any) -> None:
    """Its beginning is no more left than its end, whose last word alone could not be recognised."""
    new = through(headers=(JSON,), body=b'{"password": "hunter2secretZ9').request.body
    assert new == b'{"password": "' + b"x" * len("hunter2secretZ9")


def test_two_values_that_share_a_part_go_whole(through: Any) -> None:
    """Where a known value ends in the beginning of another, nothing of either is left."""
    body = {
        "password": "hunter2hunter2xq+1",
        "phone": "+1 415 555 2671",
        "t": "hunter2hunter2xq+1 415 555 2671",
    }
    new = json.loads(through(headers=(JSON,), body=json.dumps(body).encode()).request.body)
    assert new["t"].startswith(new["password"])
    assert not {"415", "555", "2671"} & set(new["t"].split())
