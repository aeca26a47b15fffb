from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captures.errors import CaptureError, UsageError
from captures.merge import merge_captures, merged_header, shifted, sum_counters
from captures.model import Counters, Exchange, Failure, Message, MessageKind, Provenance, Response
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header


def write(
    path: Path,
    exchanges: list[Exchange],
    messages: Sequence[Message] = (),
    *,
    wall_ns: int = 0,
    **header: Any,
) -> Path:
    with CaptureWriter.create(
        path, new_header(source=path.stem, started_wall_ns=wall_ns, **header)
    ) as writer:
        for exchange in exchanges:
            writer.write(exchange)
        for message in messages:
            writer.write_message(message)
    return path


def merge(out: Path, *paths: Path, mix: bool = False) -> CaptureReader:
    readers = [CaptureReader.open(path) for path in paths]
    with CaptureWriter.create(out, merged_header(readers, mix=mix)) as writer:
        merge_captures(readers, writer)
    for reader in readers:
        reader.close()
    return CaptureReader.open(out)


def test_merge_orders_by_wall_clock(tmp_path: Path, make_exchange: Callable[..., Exchange]) -> None:
    """Exchanges of two captures stand in the order of their wall-clock times, numbered anew."""
    a = write(tmp_path / "a.reel", [make_exchange(7, 100), make_exchange(9, 300)], wall_ns=1000)
    b = write(tmp_path / "b.reel", [make_exchange(1, 0), make_exchange(2, 150)], wall_ns=1200)
    with merge(tmp_path / "m.reel", b, a) as merged:
        assert merged.header.started_wall_ns == 1000
        assert merged.index.offset_ns.tolist() == [100, 200, 300, 350]
        assert [exchange.seq for exchange in merged.exchanges()] == [0, 1, 2, 3]
        assert merged.complete


@pytest.mark.parametrize(
    ("early_ns", "late_ns", "offset_ns"),
    [(-(2**63), 2**63 - 1, 0), (0, 5, 2**63 - 10)],
    ids=["starts", "a late exchange"],
)
def test_merge_of_clocks_that_are_centuries_apart(
    tmp_path: Path, make_exchange: Callable[..., Exchange], early_ns: int, late_ns: int, offset_ns: int
) -> None:
    """Times that no capture can hold are told, and none is written that would not open."""
    early = write(tmp_path / "a.reel", [make_exchange(0, 0)], wall_ns=early_ns)
    late = write(tmp_path / "b.reel", [make_exchange(0, offset_ns)], wall_ns=late_ns)
    with pytest.raises(CaptureError, match="centuries apart"):
        merge(tmp_path / "m.reel", early, late)


def test_merge_keeps_connections_apart(tmp_path: Path, make_exchange: Callable[..., Exchange]) -> None:
    """Connection 0 of one capture and connection 0 of another are two, and each stays one."""
    a = write(
        tmp_path / "a.reel", [make_exchange(0, 0), make_exchange(1, 20), make_exchange(2, 40, connection=5)]
    )
    b = write(tmp_path / "b.reel", [make_exchange(0, 10), make_exchange(1, 30)])
    with merge(tmp_path / "m.reel", a, b) as merged:
        assert merged.index.connection.tolist() == [0, 1, 0, 1, 2]


def test_merge_moves_every_time(tmp_path: Path, make_exchange: Callable[..., Exchange]) -> None:
    """Requests, responses and failures keep their wall-clock times, and everything else."""
    exchanges = [make_exchange(0, 10), make_exchange(1, 20, status=0)]
    a = write(tmp_path / "a.reel", [make_exchange(0, 0)], wall_ns=500)
    b = write(tmp_path / "b.reel", exchanges, wall_ns=1500)
    with merge(tmp_path / "m.reel", a, b) as merged:
        moved = list(merged.exchanges())[1:]
    assert [shifted(exchange, -1000) for exchange in moved] == [
        replace(exchange, seq=seq, connection=1) for seq, exchange in enumerate(exchanges, 1)
    ]
    assert isinstance(moved[0].outcome, Response)
    assert isinstance(moved[1].outcome, Failure)


def test_merge_keeps_messages_with_their_streams(
    tmp_path: Path, make_exchange: Callable[..., Exchange]
) -> None:
    """A stream's messages follow it to its new number, in their order, and close it at their END."""

    def stream(seq: int) -> tuple[Exchange, list[Message]]:
        exchange = make_exchange(seq, 10)
        outcome = replace(exchange.outcome, stream=True, end_ns=None, body=b"")
        kinds = [(MessageKind.TEXT, b"one"), (MessageKind.TEXT, b"two"), (MessageKind.END, b"")]
        messages = [
            Message(exchange=seq, offset_ns=20 + n, from_client=False, kind=kind, payload=payload)
            for n, (kind, payload) in enumerate(kinds)
        ]
        return replace(exchange, outcome=outcome), messages

    exchange_a, messages_a = stream(4)
    exchange_b, messages_b = stream(4)
    a = write(tmp_path / "a.reel", [exchange_a], messages_a, wall_ns=0)
    b = write(tmp_path / "b.reel", [exchange_b], messages_b, wall_ns=1)
    with merge(tmp_path / "m.reel", a, b) as merged:
        for seq, shift_ns in ((0, 0), (1, 1)):
            assert list(merged.messages(seq)) == [
                replace(message, exchange=seq, offset_ns=message.offset_ns + shift_ns)
                for message in messages_a
            ]
        assert [exchange.outcome.end_ns for exchange in merged.exchanges()] == [22, 23]


def test_merge_leaves_out_messages_without_an_exchange(
    tmp_path: Path, make_exchange: Callable[..., Exchange]
) -> None:
    """A message whose exchange is not in the capture joins no other exchange."""
    stray = Message(exchange=99, offset_ns=5, from_client=True, kind=MessageKind.TEXT, payload=b"x")
    a = write(tmp_path / "a.reel", [make_exchange(0, 0)], [stray])
    with merge(tmp_path / "m.reel", a, a) as merged:
        assert list(merged.messages()) == []


def test_header_names_where_all_came_from(tmp_path: Path, make_exchange: Callable[..., Exchange]) -> None:
    """Lineage holds the inputs and what they were made from; the first one's salt is handed on."""
    a = write(tmp_path / "a.reel", [make_exchange()], lineage=("0" * 32,))
    b = write(tmp_path / "b.reel", [make_exchange()])
    with CaptureReader.open(a) as first, CaptureReader.open(b) as second:
        header = merged_header([first, second])
        assert header.lineage == (first.header.capture_id, second.header.capture_id, "0" * 32)
        assert header.source == "a + b"
        assert header.fingerprint_salt == first.header.fingerprint_salt


def test_header_refuses_to_mix(tmp_path: Path, make_exchange: Callable[..., Exchange]) -> None:
    """Anonymized and other captures are merged only when that was asked for, and then count as raw."""
    safe = Provenance(policy="default", key_fingerprint="k1")
    a = write(tmp_path / "a.reel", [make_exchange()], anonymized=safe)
    b = write(tmp_path / "b.reel", [make_exchange()])
    with CaptureReader.open(a) as first, CaptureReader.open(b) as second:
        with pytest.raises(UsageError, match="--mix"):
            merged_header([first, second])
        assert merged_header([first, second], mix=True).anonymized is None
        assert merged_header([first, first]).anonymized == safe


def test_header_names_every_key(tmp_path: Path, make_exchange: Callable[..., Exchange]) -> None:
    """Different keys are merged only when that was asked for, and the header then names each of them."""
    a = write(tmp_path / "a.reel", [], anonymized=Provenance(policy="p", key_fingerprint="k1"))
    b = write(tmp_path / "b.reel", [], anonymized=Provenance(policy="p", key_fingerprint="k2"))
    with CaptureReader.open(a) as first, CaptureReader.open(b) as second:
        with pytest.raises(UsageError, match=r"different keys \(k1, k2\)"):
            merged_header([first, second])
        assert merged_header([first, second], mix=True).anonymized == Provenance(
            policy="p", key_fingerprint="k1+k2"
        )


def test_an_audit_counts_when_all_have_passed_one(
    tmp_path: Path, make_exchange: Callable[..., Exchange]
) -> None:
    """One capture whose audit was not run makes the merged one such a capture."""
    audited = Provenance(policy="p", key_fingerprint="k", audit_passed=True)
    a = write(tmp_path / "a.reel", [], anonymized=audited)
    b = write(tmp_path / "b.reel", [], anonymized=Provenance(policy="q", key_fingerprint="k"))
    with CaptureReader.open(a) as first, CaptureReader.open(b) as second:
        assert merged_header([first, first]).anonymized == audited
        assert merged_header([first, second]).anonymized == Provenance(policy="p+q", key_fingerprint="k")


def test_merging_nothing_is_an_error() -> None:
    """No input is a usage error."""
    with pytest.raises(UsageError, match="nothing to merge"):
        merged_header([])


def test_accounts_are_added_up(tmp_path: Path, make_exchange: Callable[..., Exchange]) -> None:
    """The merged account is the sum of the inputs' accounts, losses included."""
    accounts = [
        Counters(seen=5, written=3, dropped=1, in_flight=1),
        Counters(seen=2, written=1, sampled_out=1),
    ]
    assert sum_counters(accounts) == Counters(seen=7, written=4, dropped=1, in_flight=1, sampled_out=1)
    paths = []
    for number, account in enumerate(accounts):
        path = tmp_path / f"{number}.reel"
        writer = CaptureWriter.create(path, new_header(source="x", started_wall_ns=0))
        writer.write(make_exchange())
        writer.close(account)
        paths.append(path)
    with merge(tmp_path / "m.reel", *paths) as merged:
        assert merged.counters == sum_counters(accounts)


def test_parts_of_one_recording_are_one_again(tmp_path: Path, make_exchange: Callable[..., Exchange]) -> None:
    """A stream that began in one part and went on in the next keeps its messages, end and connection."""
    begun = make_exchange(0, 0, connection=3)
    assert isinstance(begun.outcome, Response)
    open_stream = replace(begun, outcome=replace(begun.outcome, stream=True, end_ns=None, body=b""))
    first = write(tmp_path / "x-0001.reel", [open_stream], wall_ns=5)
    with CaptureReader.open(first) as reader:
        root = reader.header.capture_id
    second = write(
        tmp_path / "x-0002.reel",
        [make_exchange(1, 50, connection=3)],
        [
            Message(
                exchange=0, offset_ns=40, from_client=False, kind=MessageKind.EVENT, payload=b"data: 1\n\n"
            ),
            Message(exchange=0, offset_ns=60, from_client=False, kind=MessageKind.END, payload=b""),
        ],
        wall_ns=5,
        lineage=(root,),
    )
    with merge(tmp_path / "m.reel", first, second) as merged:
        stream, other = merged.exchanges()
        assert isinstance(stream.outcome, Response)
        assert stream.outcome.end_ns == 60
        assert [message.payload for message in merged.messages(stream.seq)] == [b"data: 1\n\n", b""]
        assert stream.connection == other.connection
