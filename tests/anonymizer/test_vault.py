"""The vault gives back every byte to whoever has its key, and nothing to anybody else."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from anonymizer import vault as vault_module
from anonymizer.vault import restore_capture, write_vault
from captures.encryption import ephemeral_identity, use_identities
from captures.errors import CaptureError, UsageError
from captures.keys import new_key, read_key_file, write_key_file
from captures.model import Message, MessageKind
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header

ADDRESS = b"jane.miller@corp-mail.test"
KEY = b"v" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    before: Path
    after: Path
    vault: Path


@pytest.fixture
def made(anonymized: Callable[..., Any], make_exchange: Any, tmp_path: Path) -> Made:
    """A capture with everything that is hard to repeat, its anonymized copy and the vault."""
    body = json.dumps({"email": ADDRESS.decode(), "items": list(range(50))}).encode()
    exchanges = [
        make_exchange(
            0,
            target=b"/users/jane.miller?mail=" + ADDRESS,
            headers=(
                (b"X-Hub-Signature-256", b"sha256=" + b"ab" * 32),
                (b"Authorization", b"Bearer s3cret-s3cret"),
            ),
            body=body,
            response_body=body,
        ),
        make_exchange(1, headers=((b"Content-Encoding", b"gzip"),), body=gzip.compress(body, 1)),
        make_exchange(2, headers=((b"Content-Encoding", b"br"),), body=b"no brotli at all \xff\xfe"),
        make_exchange(3, body=bytes(range(256)) * 20),
        make_exchange(4, stream=True),
    ]
    messages = [
        Message(
            exchange=4, offset_ns=5_000_000 + n, from_client=n % 2 == 0, kind=MessageKind.TEXT, payload=body
        )
        for n in range(5)
    ]
    result = anonymized(*exchanges, messages=messages)
    path = tmp_path / "a.vault"
    with CaptureReader.open(result.before) as before, CaptureReader.open(result.after) as after:
        write_vault(path, KEY, before, after)
    return Made(before=result.before, after=result.after, vault=path)


def restored(made: Made, output: Path, key: bytes = KEY) -> Path:
    with CaptureReader.open(made.after) as reader:
        restore_capture(reader, made.vault, key, output)
    return output


def content(path: Path) -> tuple[Any, ...]:
    with CaptureReader.open(path) as reader:
        return (
            reader.header, reader.counters, reader.facts, reader.complete, reader.recipients,
            list(reader.exchanges()), list(reader.messages()),
        )  # fmt: skip


@pytest.mark.parametrize("chunk_bytes", [1, vault_module._CHUNK_BYTES])
def test_everything_comes_back(made: Made, tmp_path: Path, chunk_bytes: int, monkeypatch: Any) -> None:
    """Header, account, exchanges and messages are those of the original, in chunks of any size."""
    monkeypatch.setattr(vault_module, "_CHUNK_BYTES", chunk_bytes)
    again = tmp_path / "again.vault"
    with CaptureReader.open(made.before) as before, CaptureReader.open(made.after) as after:
        write_vault(again, KEY, before, after)
    out = restored(Made(before=made.before, after=made.after, vault=again), tmp_path / "out.reel")
    assert content(out) == content(made.before) != content(made.after)
    assert out.stat().st_mode & 0o777 == again.stat().st_mode & 0o777 == 0o600


def test_the_vault_shows_nothing(made: Made) -> None:
    """No value stands in the file, and it is smaller than what it restores."""
    data = made.vault.read_bytes()
    assert ADDRESS not in data
    assert b"s3cret" not in data
    assert len(data) < made.before.stat().st_size + 4096


def test_two_vaults_of_one_capture_differ(made: Made, tmp_path: Path) -> None:
    """Each vault has a salt of its own, so equal chunks are sealed differently."""
    with CaptureReader.open(made.before) as before, CaptureReader.open(made.after) as after:
        write_vault(tmp_path / "b.vault", KEY, before, after)
    first, second = made.vault.read_bytes(), (tmp_path / "b.vault").read_bytes()
    assert len(first) == len(second)
    assert first[80:] != second[80:]


def test_another_key_opens_nothing(made: Made, tmp_path: Path) -> None:
    """The error says so, and no output is left."""
    with pytest.raises(UsageError, match="has another key"):
        restored(made, tmp_path / "out.reel", b"w" * 32)
    assert not (tmp_path / "out.reel").exists()


def test_any_changed_or_missing_byte_is_noticed(made: Made, tmp_path: Path) -> None:
    """A vault that was changed in any place, cut anywhere or made longer restores nothing."""
    data = made.vault.read_bytes()
    places = sorted({*range(0, 84, 3), *range(84, len(data), 97), len(data) - 1})
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1
        made.vault.write_bytes(changed)
        with pytest.raises((CaptureError, UsageError)):
            restored(made, tmp_path / "out.reel")
    for stop in places:
        made.vault.write_bytes(data[:stop])
        with pytest.raises((CaptureError, UsageError)):
            restored(made, tmp_path / "out.reel")
    made.vault.write_bytes(data + b"\0")
    with pytest.raises(CaptureError, match="changed or cut"):
        restored(made, tmp_path / "out.reel")
    assert not (tmp_path / "out.reel").exists()


def test_chunks_left_out_or_swapped_are_noticed(made: Made, tmp_path: Path, monkeypatch: Any) -> None:
    """Whole chunks cannot be taken away, moved, or the end brought forward."""
    monkeypatch.setattr(vault_module, "_CHUNK_BYTES", 1)
    path = tmp_path / "many.vault"
    with CaptureReader.open(made.before) as before, CaptureReader.open(made.after) as after:
        write_vault(path, KEY, before, after)
    many = Made(before=made.before, after=made.after, vault=path)
    data = path.read_bytes()
    head, chunks, at = data[:80], [], 80
    while at < len(data):
        size = 4 + int.from_bytes(data[at : at + 4], "little")
        chunks.append(data[at : at + size])
        at += size
    assert len(chunks) == 1 + 5 + 5 + 1
    for wrong in (
        chunks[:-1],
        chunks[:3] + chunks[-1:],
        [chunks[0], chunks[2], chunks[1], *chunks[3:]],
        chunks[1:],
    ):
        path.write_bytes(head + b"".join(wrong))
        with pytest.raises(CaptureError, match="changed or cut"):
            restored(many, tmp_path / "out.reel")


def test_another_capture_is_refused(made: Made, anonymized: Any, make_exchange: Any, tmp_path: Path) -> None:
    """A vault fits the one anonymized capture that it was written with."""
    other = anonymized(make_exchange(0, body=b"x"))
    with pytest.raises(UsageError, match="belongs to another capture"):
        restored(Made(before=made.before, after=other.after, vault=made.vault), tmp_path / "out.reel")


def test_captures_of_different_exchanges_make_no_vault(
    made: Made, anonymized: Any, make_exchange: Any, tmp_path: Path
) -> None:
    """An error, and no half a vault."""
    other = anonymized(make_exchange(0, body=b"x"))
    path = tmp_path / "wrong.vault"
    with (
        CaptureReader.open(made.before) as before,
        CaptureReader.open(other.after) as after,
        pytest.raises(CaptureError, match="other exchanges"),
    ):
        write_vault(path, KEY, before, after)
    assert not path.exists()


def test_a_sealed_original_is_sealed_again(
    made: Made, anonymized: Any, tmp_path: Path, make_exchange: Any
) -> None:
    """What was encrypted to somebody comes back encrypted to the same."""
    identities, recipient = ephemeral_identity()
    sealed = tmp_path / "sealed.reel"
    header = new_header(source="x", started_wall_ns=1)
    with CaptureWriter.create(sealed, header, recipients=(recipient,)) as writer:
        writer.write(make_exchange(0, body=ADDRESS))
    other = anonymized(make_exchange(0, body=ADDRESS))
    path = tmp_path / "sealed.vault"
    with use_identities(identities):
        with CaptureReader.open(sealed) as before, CaptureReader.open(other.after) as after:
            write_vault(path, KEY, before, after)
        out = restored(Made(before=sealed, after=other.after, vault=path), tmp_path / "out.reel")
        assert content(out) == content(sealed)
    assert ADDRESS not in out.read_bytes()


def test_a_key_of_stand_ins_opens_no_vault(tmp_path: Path) -> None:
    """Key files say what they are for."""
    write_key_file(tmp_path / "a.key", new_key())
    write_key_file(tmp_path / "v.key", new_key(), purpose=vault_module.KEY_PURPOSE)
    with pytest.raises(UsageError, match="not a hookreel vault-key file"):
        read_key_file(tmp_path / "a.key", purpose=vault_module.KEY_PURPOSE)
    with pytest.raises(UsageError, match="not a hookreel key file"):
        read_key_file(tmp_path / "v.key")
    assert len(read_key_file(tmp_path / "v.key", purpose=vault_module.KEY_PURPOSE)) == 32


def test_what_is_no_vault_is_told(made: Made, tmp_path: Path) -> None:
    """An absent file and one of another kind are wrong usage."""
    with pytest.raises(UsageError, match="is not a vault"):
        restored(Made(before=made.before, after=made.after, vault=made.before), tmp_path / "out.reel")
    with pytest.raises(UsageError, match="cannot be read"):
        restored(Made(before=made.before, after=made.after, vault=tmp_path / "no"), tmp_path / "out.reel")


def test_a_capture_whose_id_is_none_is_told(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have written its header by hand."""
    with CaptureReader.open(made.after) as reader:
        monkeypatch.setattr(reader, "header", replace(reader.header, capture_id="mine"))
        with pytest.raises(CaptureError, match="has no id"):
            restore_capture(reader, made.vault, KEY, tmp_path / "out.reel")
    assert not (tmp_path / "out.reel").exists()
