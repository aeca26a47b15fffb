from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from captures.lineage import derived_header
from captures.merge import merge_captures, merged_header
from captures.model import CaptureHeader, Exchange, Provenance
from captures.reader import CaptureReader
from captures.writer import CaptureWriter


def copy(source: CaptureReader, path: Path, header: CaptureHeader) -> CaptureReader:
    with CaptureWriter.create(path, header) as writer:
        for exchange in source.exchanges():
            writer.write(exchange)
    return CaptureReader.open(path)


def torn(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-30])
    return path


def test_what_was_missing_is_handed_on(
    tmp_path: Path, make_exchange: Callable[..., Exchange], write_capture: Any
) -> None:
    """A copy of an unclosed capture, and a copy of that, are whole and say what their source lacked."""
    with CaptureReader.open(torn(write_capture([make_exchange()]))) as source:
        assert not source.complete
        first = copy(source, tmp_path / "1.reel", derived_header(source))
        second = copy(first, tmp_path / "2.reel", derived_header(first))
        for made in (first, second):
            with made:
                assert made.complete
                assert made.header.source_problems == source.problems


def test_the_rest_of_the_header_is_handed_on(
    make_exchange: Callable[..., Exchange], write_capture: Any
) -> None:
    """Start, salt and lineage stay; source and provenance are the reader's unless others are given."""
    with CaptureReader.open(write_capture([make_exchange()])) as reader:
        old, made = reader.header, derived_header(reader)
        anonymized = Provenance(policy="default", key_fingerprint="0" * 12)
        other = derived_header(reader, source="elsewhere", anonymized=anonymized)
    assert made.capture_id != old.capture_id
    assert (made.started_wall_ns, made.fingerprint_salt) == (old.started_wall_ns, old.fingerprint_salt)
    assert made.lineage == (old.capture_id,)
    assert (made.source, made.anonymized, made.source_problems) == ("test", None, ())
    assert (other.source, other.anonymized) == ("elsewhere", anonymized)


def test_blocks_that_cannot_be_decoded_are_told_before_they_are_read(
    make_exchange: Callable[..., Exchange], craft: Any
) -> None:
    """The header, which is written first, knows of a block that only reading shows to be undecodable."""
    broken = make_exchange(1, 10, body="text, where bytes belong")
    path = craft([make_exchange(), broken], close=False)
    with CaptureReader.open(path) as reader:
        assert any("cannot be decoded" in problem for problem in derived_header(reader).source_problems)


def test_a_merge_says_which_of_its_captures_lacked_what(
    tmp_path: Path, make_exchange: Callable[..., Exchange], write_capture: Any
) -> None:
    """Each problem stands once, behind the beginning of its capture's id, which the lineage holds."""
    whole = write_capture([make_exchange()], name="whole.reel")
    damaged = torn(write_capture([make_exchange()], name="torn.reel"))
    readers = [CaptureReader.open(path) for path in (whole, damaged)]
    with CaptureWriter.create(tmp_path / "m.reel", merged_header(readers)) as writer:
        merge_captures(readers, writer)
    problems = readers[1].problems
    for reader in readers:
        reader.close()
    with CaptureReader.open(tmp_path / "m.reel") as merged:
        begin = merged.header.lineage[1][:8]
        assert merged.header.source_problems == tuple(f"{begin}: {problem}" for problem in problems)
