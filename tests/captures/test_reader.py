"""Reading: send order, windows, endpoints, streams, damage, arbitrary bytes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures import reader as reader_module
from captures.errors import CaptureError, UsageError
from captures.frames import CAPTURE_MAGIC, FILE_HEADER, pack_file_header
from captures.model import Exchange, Message, MessageKind, Response
from captures.reader import CaptureReader
from captures.units import NS_PER_S
from captures.writer import CaptureWriter, new_header


def test_completion_order_becomes_send_order(write_capture, make_exchange) -> None:
    """However exchanges were written, they come back by offset, then by seq."""
    exchanges = [make_exchange(seq, (seq // 3) * 1000) for seq in range(300)]
    shuffled = random.Random(1).sample(exchanges, len(exchanges))
    with CaptureReader.open(write_capture(shuffled, flush_each=True)) as reader:
        assert list(reader.exchanges()) == exchanges
        assert [row.exchange() for row in reader.rows()] == shuffled
        assert reader.index.seq.tolist() == [exchange.seq for exchange in exchanges]
        assert reader.index.offset_ns.tolist() == [exchange.offset_ns for exchange in exchanges]


@given(st.lists(st.integers(0, 50), max_size=40), st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_window_is_what_a_filter_gives(tmp_path_factory, make_exchange, offsets, data) -> None:
    """Start, stop and endpoints choose exactly the exchanges that a plain filter would."""
    targets = [b"/a", b"/b/%d", b"/c"]
    exchanges = [
        make_exchange(seq, offset, target=targets[seq % 3].replace(b"%d", b"%d" % seq))
        for seq, offset in enumerate(offsets)
    ]
    path = tmp_path_factory.mktemp("w") / "w.reel"
    with CaptureWriter.create(path, new_header(source="t", started_wall_ns=0)) as writer:
        for exchange in exchanges:
            writer.write(exchange)
            if data.draw(st.booleans()):
                writer.flush()
    start, stop = data.draw(st.integers(0, 50)), data.draw(st.integers(0, 50))
    with CaptureReader.open(path) as reader:
        chosen = list(reader.exchanges(start_ns=start, stop_ns=stop, endpoints={"POST /b/{id}", "POST /c"}))
    wanted = [e for e in exchanges if start <= e.offset_ns < stop and not e.request.target.startswith(b"/a")]
    assert chosen == sorted(wanted, key=lambda exchange: (exchange.offset_ns, exchange.seq))


def test_a_window_decodes_only_its_own_blocks(write_capture, make_exchange, monkeypatch) -> None:
    """Reading a second out of an hour does not touch the rest of the hour."""
    path = write_capture((make_exchange(seq, seq * 1000) for seq in range(200)), flush_each=True)
    with CaptureReader.open(path) as reader:
        opened: list[int] = []
        original = CaptureReader._open_block
        monkeypatch.setattr(
            CaptureReader, "_open_block", lambda self, at: (opened.append(at), original(self, at))[1]
        )
        chosen = list(reader.exchanges(start_ns=50_000, stop_ns=52_000))
    assert [exchange.seq for exchange in chosen] == [50, 51]
    assert len(opened) == 2


def test_memory_is_bounded_by_the_cache(write_capture, make_exchange, monkeypatch) -> None:
    """Even when send order jumps over all blocks, few of them are kept."""
    monkeypatch.setattr(reader_module, "CACHE_BYTES", 3000)
    path = write_capture((make_exchange(seq, -seq, body=b"x" * 1000) for seq in range(100)), flush_each=True)
    with CaptureReader.open(path) as reader:
        for _ in reader.exchanges():
            assert sum(len(block.payload) for block in reader._cache.values()) <= 3000


def test_index_columns_describe_each_exchange(write_capture, make_exchange) -> None:
    """Status, sizes, connection and endpoint stand beside the offsets."""
    path = write_capture(
        [
            make_exchange(0, 10, connection=7, status=500, target=b"/x/1", body=b"abc"),
            make_exchange(1, 20, connection=8, status=0, target=b"/x/2", body=b""),
        ]
    )
    with CaptureReader.open(path) as reader:
        index = reader.index
        assert index.status.tolist() == [500, 0]
        assert index.connection.tolist() == [7, 8]
        assert index.request_bytes.tolist() == [3, 0]
        assert index.response_bytes.tolist() == [2, 0]
        assert [reader.endpoint_labels[n] for n in index.endpoint] == ["POST /x/{id}"] * 2
        assert index.offset_ns.dtype == np.int64
        assert reader.duration_ns == 15


def test_an_empty_capture_opens(write_capture) -> None:
    """Nothing recorded is not an error."""
    with CaptureReader.open(write_capture([])) as reader:
        assert (len(reader), list(reader.exchanges()), reader.duration_ns) == (0, [], 0)
        assert reader.complete


def test_messages_belong_to_their_exchange_and_end_it(write_capture, make_exchange) -> None:
    """A stream's exchange gets its end from its END message."""
    base = make_exchange(3, 100)
    response = Response(
        status=200,
        reason=b"OK",
        http_version=b"HTTP/1.1",
        headers=(),
        offset_ns=110,
        end_ns=None,
        stream=True,
    )
    stream = type(base)(**{**{n: getattr(base, n) for n in base.__slots__}, "outcome": response})
    messages = [
        Message(exchange=3, offset_ns=150, from_client=False, kind=MessageKind.EVENT, payload=b"data: 1\n\n"),
        Message(exchange=4, offset_ns=160, from_client=True, kind=MessageKind.TEXT, payload=b"other"),
        Message(exchange=3, offset_ns=900, from_client=False, kind=MessageKind.END, payload=b""),
    ]
    with CaptureReader.open(write_capture([stream], messages)) as reader:
        assert list(reader.messages()) == messages
        assert list(reader.messages(3)) == [messages[0], messages[2]]
        (exchange,) = reader.exchanges()
        assert exchange.outcome.end_ns == 900
        assert reader.duration_ns == 800
    path = reader.path
    path.write_bytes(path.read_bytes()[:-24])  # as if it had been killed just before the end
    with CaptureReader.open(path) as salvaged:
        (exchange,) = salvaged.exchanges()
        assert exchange.outcome.end_ns == 900
        assert salvaged.duration_ns == 800


def test_many_index_blocks_are_one_index(write_capture, make_exchange, monkeypatch) -> None:
    """Labels, columns and blocks of all INDEX blocks are joined."""
    monkeypatch.setattr("captures.writer.INDEX_ROWS", 10)
    exchanges = [make_exchange(seq, seq, target=b"/p%d" % (seq % 7)) for seq in range(95)]
    with CaptureReader.open(write_capture(exchanges, flush_each=True)) as reader:
        assert list(reader.exchanges()) == exchanges
        assert sorted(reader.endpoint_labels) == [f"POST /p{n}" for n in range(7)]
    path = reader.path
    for cut in (100, 1500, 4000):
        path.write_bytes(path.read_bytes()[:-cut])
        with CaptureReader.open(path) as torn:
            kept = list(torn.exchanges())
            assert kept == exchanges[: len(kept)]
            labels = torn.endpoint_labels
            assert [labels[n] for n in torn.index.endpoint] == [
                f"POST {exchange.request.target.decode()}" for exchange in kept
            ]


@pytest.mark.parametrize("name", ["absent.reel", "."])
def test_no_file_is_a_usage_error(tmp_path: Path, name: str) -> None:
    """An absent file and a folder are named in one sentence."""
    with pytest.raises(UsageError, match="give a capture"):
        CaptureReader.open(tmp_path / name)


def _read_everything(path: Path) -> None:
    for salvage in (False, True):
        with CaptureReader.open(path, salvage=salvage) as reader:
            list(reader.exchanges())
            list(reader.messages())
            _ = reader.endpoint_labels, reader.duration_ns, len(reader), reader.index.endpoint


@given(st.binary(max_size=2000), st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_are_a_capture_error(tmp_path: Path, data: bytes, with_magic: bool) -> None:
    """A file of random bytes, with or without a sound file header, is a CaptureError and nothing else."""
    path = tmp_path / "random.reel"
    head = pack_file_header(CAPTURE_MAGIC, 1, b"i" * 16) if with_magic else b""
    path.write_bytes(head + data)
    with pytest.raises(CaptureError):
        _read_everything(path)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_capture_opens_or_is_a_capture_error(tmp_path_factory, make_exchange, data) -> None:
    """Cut anywhere and with bytes changed anywhere: CaptureError, or exchanges that were really written."""
    folder = tmp_path_factory.mktemp("d")
    exchanges = [make_exchange(seq, seq) for seq in range(12)]
    path = folder / "a.reel"
    with CaptureWriter.create(path, new_header(source="t", started_wall_ns=0)) as writer:
        for exchange in exchanges:
            writer.write(exchange)
            if exchange.seq % 4 == 3:
                writer.flush()
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    for salvage in (False, True):
        try:
            with CaptureReader.open(path, salvage=salvage) as reader:
                read = list(reader.exchanges())
        except CaptureError:
            continue
        assert all(exchange in exchanges for exchange in read)


def test_salvage_reads_around_damage(write_capture, make_exchange) -> None:
    """A flipped byte in a closed file raises when it is read, and costs one block when salvaged."""
    exchanges = [make_exchange(seq, seq) for seq in range(30)]
    path = write_capture(exchanges, flush_each=True)
    with CaptureReader.open(path) as reader:
        victim = reader.index.blocks[10].position
    content = bytearray(path.read_bytes())
    content[victim + 70] ^= 0xFF
    path.write_bytes(content)
    with CaptureReader.open(path) as reader, pytest.raises(CaptureError, match="--salvage"):
        list(reader.exchanges())
    with CaptureReader.open(path, salvage=True) as reader:
        assert [exchange.seq for exchange in reader.exchanges()] == [n for n in range(30) if n != 10]
        assert not reader.complete
        assert "damaged" in reader.problems[0]
        assert "1 block is missing" in reader.problems[1]


def test_a_file_header_alone_says_that_nothing_can_be_read(tmp_path: Path) -> None:
    """A capture cut before its first block is refused in one sentence."""
    path = tmp_path / "a.reel"
    path.write_bytes(pack_file_header(CAPTURE_MAGIC, 1, b"i" * 16))
    assert path.stat().st_size == FILE_HEADER.size
    with pytest.raises(CaptureError, match="nothing of it can be read"):
        CaptureReader.open(path)


def _labels_are_right(reader: CaptureReader, exchanges: list[Exchange]) -> bool:
    labels = [reader.endpoint_labels[number] for number in reader.index.endpoint]
    return labels == [f"POST {exchange.request.target.decode()}" for exchange in exchanges]


@pytest.mark.parametrize("victim", ["first data block", "later data block", "first index", "no block"])
@pytest.mark.parametrize("salvage", [False, True])
def test_labels_stay_with_their_endpoints_when_blocks_are_lost(
    tmp_path: Path, make_exchange, monkeypatch, victim: str, salvage: bool
) -> None:
    """INDEX blocks hold only new labels; losing one, or a block it lists, shifts no other's numbers."""
    monkeypatch.setattr("captures.writer.INDEX_ROWS", 10)
    targets = [b"/alpha"] * 10 + [b"/beta", b"/gamma"] * 10
    exchanges = [make_exchange(seq, seq, target=target) for seq, target in enumerate(targets)]
    path = tmp_path / "a.reel"
    writer = CaptureWriter.create(path, new_header(source="t", started_wall_ns=0))
    for exchange in exchanges:
        writer.write(exchange)
        writer.flush()
    first_index = writer._index_positions[0]
    writer.close()
    with CaptureReader.open(path) as reader:
        blocks = [block.position for block in reader.index.blocks]
    places = {"first data block": blocks[3], "later data block": blocks[13], "first index": first_index}
    content = bytearray(path.read_bytes())
    if victim in places:
        content[places[victim] + 60] ^= 0xFF
    path.write_bytes(content[:-24])
    lost = {"first data block": 3, "later data block": 13}.get(victim)
    kept = [exchange for exchange in exchanges if exchange.seq != lost]
    with CaptureReader.open(path, salvage=salvage) as reader:
        assert list(reader.exchanges()) == kept
        assert [row.exchange() for row in reader.rows()] == kept
        assert _labels_are_right(reader, kept)


def test_exchanges_are_planned_a_slice_at_a_time(write_capture, make_exchange, monkeypatch) -> None:
    """Windows and endpoints choose the same however many slices it takes."""
    exchanges = [make_exchange(seq, seq // 2, target=b"/p%d" % (seq % 3) + b"x") for seq in range(50)]
    path = write_capture(exchanges[::-1], flush_each=True)
    with CaptureReader.open(path) as reader:
        whole = list(reader.exchanges(start_ns=3, stop_ns=21, endpoints={"POST /p1x", "POST /p2x"}))
    monkeypatch.setattr(reader_module, "SLICE_ROWS", 4)
    with CaptureReader.open(path) as reader:
        assert list(reader.exchanges(start_ns=3, stop_ns=21, endpoints={"POST /p1x", "POST /p2x"})) == whole
        assert list(reader.exchanges()) == exchanges


def test_the_messages_of_one_exchange_are_read_from_its_time_only(
    write_capture, make_exchange, monkeypatch
) -> None:
    """Blocks long before a stream's request and long after its end are not opened."""
    monkeypatch.setattr("captures.writer.BLOCK_BYTES", 400)
    minute = 60 * NS_PER_S
    streams = []
    messages = []
    for seq in range(30):
        at = seq * 5 * minute
        base = make_exchange(seq, at)
        response = replace(base.outcome, stream=True, end_ns=None, offset_ns=at + 1)
        streams.append(replace(base, outcome=response))
        messages += [
            Message(exchange=seq, offset_ns=at + 2, from_client=False, kind=kind, payload=b"x" * 200)
            for kind in (MessageKind.EVENT, MessageKind.END)
        ]
    with CaptureReader.open(write_capture(streams, messages)) as reader:
        opened: list[int] = []
        original = CaptureReader._open_block
        monkeypatch.setattr(
            CaptureReader, "_open_block", lambda self, at: (opened.append(at.position), original(self, at))[1]
        )
        assert list(reader.messages(17)) == messages[34:36]
        assert len(opened) <= 2
        assert list(reader.messages(99)) == []


def test_only_a_few_dictionaries_are_kept(write_capture, make_exchange, monkeypatch) -> None:
    """A capture of many dictionaries reads in any order with a bounded number of them in memory."""
    monkeypatch.setattr("captures.writer.DICTIONARY_REFRESH_BYTES", 30_000)
    text = random.Random(1)
    exchanges = [
        make_exchange(seq, seq, body=bytes(text.choice(b"abcdef ") for _ in range(900))) for seq in range(600)
    ]
    path = write_capture([], name="none.reel")
    with CaptureWriter.create(path.with_name("d.reel"), new_header(source="t", started_wall_ns=0)) as writer:
        for exchange in exchanges:
            writer.write(exchange)
            if exchange.seq % 40 == 39:
                writer.flush()
    with CaptureReader.open(path.with_name("d.reel")) as reader:
        assert len(reader._dictionary_position) > 6
        assert list(reader.exchanges()) == exchanges
        assert len(reader._opener._with_dictionary) <= 4
        assert [row.exchange() for row in reader.rows()] == exchanges


def test_messages_that_cannot_be_decoded_are_left_out_when_salvaged(
    write_capture, make_exchange, monkeypatch
) -> None:
    """A block of messages that is whole and holds none costs only itself."""
    good = Message(exchange=0, offset_ns=1, from_client=True, kind=MessageKind.TEXT, payload=b"kept")
    with monkeypatch.context() as broken:
        broken.setattr("captures.writer.message_row", lambda message: (message.exchange, "no message"))
        path = write_capture([make_exchange()], [good])
    with CaptureReader.open(path) as reader, pytest.raises(CaptureError):
        list(reader.messages())
    with CaptureReader.open(path, salvage=True) as reader:
        assert list(reader.messages()) == []
        assert reader.problems == ("1 block is whole but cannot be decoded, and left out.",)
        assert not reader.complete


def test_a_lost_header_leaves_the_exchanges_to_salvage(write_capture, make_exchange) -> None:
    """Without META nothing is known of the start and the origin, and every exchange is there."""
    exchanges = [make_exchange(seq, seq) for seq in range(5)]
    path = write_capture(exchanges)
    content = bytearray(path.read_bytes())
    content[64 + 60] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CaptureError):
        CaptureReader.open(path)
    with CaptureReader.open(path, salvage=True) as reader:
        assert list(reader.exchanges()) == exchanges
        assert reader.header.capture_id == content[12:28].hex()
        assert "header block is damaged" in reader.problems[-1]
