"""Sealed captures: only recipients read them, nothing can be changed, a kill costs no more than before."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures import encryption
from captures.encryption import (
    IDENTITY_VARIABLE,
    Envelope,
    Identities,
    SealedOpener,
    SealedPacker,
    ephemeral_identity,
    identities_in_effect,
    new_identity,
    read_identities,
    read_recipients,
    unwrap,
    use_identities,
    wrap,
)
from captures.errors import CaptureError, UsageError
from captures.frames import FILE_HEADER, Block, BlockPacker, BlockType, read_block
from captures.model import Counters, Message, MessageKind
from captures.reader import CaptureReader
from captures.scanning import scan_blocks
from captures.writer import CaptureWriter, new_header

SECRET = b"the-secret-of-this-test"


@pytest.fixture(scope="module")
def pair() -> tuple[Identities, str]:
    """An identity and its recipient."""
    return ephemeral_identity()


@pytest.fixture
def seal(tmp_path: Path, make_exchange, pair):
    """Writes a sealed capture of ``count`` exchanges, a block each."""

    def write(count: int = 5, *, close: bool = True) -> Path:
        path = tmp_path / "sealed.reel"
        header = new_header(source=f"record {SECRET.decode()}", started_wall_ns=1)
        writer = CaptureWriter.create(path, header, recipients=[pair[1]])
        for seq in range(count):
            writer.write(make_exchange(seq, seq, body=SECRET * 20, target=b"/" + SECRET))
            writer.write_message(
                Message(exchange=seq, offset_ns=seq, from_client=True, kind=MessageKind.TEXT, payload=SECRET)
            )
            writer.flush()
        writer.count(Counters(seen=count, written=count))
        if close:
            writer.close()
        else:
            os.close(writer._descriptor)  # as a kill does
        return path

    return write


def test_a_sealed_capture_is_read_by_its_recipient(seal, pair, make_exchange) -> None:
    """Header, exchanges, messages, index and account come back, by footer and by scan."""
    path = seal()
    for salvage in (False, True):
        with CaptureReader.open(path, identities=pair[0], salvage=salvage) as reader:
            assert reader.complete
            assert reader.header.source == f"record {SECRET.decode()}"
            assert reader.recipients == (pair[1],)
            assert [item.seq for item in reader.exchanges()] == [0, 1, 2, 3, 4]
            assert [item.payload for item in reader.messages()] == [SECRET] * 5
            assert reader.endpoint_labels == (f"POST /{SECRET.decode()}",)
            assert list(reader.exchanges(start_ns=2, stop_ns=3)) == [
                make_exchange(2, 2, body=SECRET * 20, target=b"/" + SECRET)
            ]


def test_nothing_of_the_traffic_is_in_the_file(seal, pair) -> None:
    """Neither exchanges nor labels, source, salt or dictionary can be found in a sealed file."""
    path = seal(40)
    data = path.read_bytes()
    with CaptureReader.open(path, identities=pair[0]) as reader:
        salt = reader.header.fingerprint_salt
    for needle in (SECRET, b"POST", b"record", b"Host", salt):
        assert needle not in data
    blocks = [
        item
        for item in scan_blocks(lambda at, n: data[at : at + n], 64, len(data))
        if isinstance(item, Block)
    ]
    assert blocks[0].header.type == BlockType.KEY
    assert all(block.header.codec & 0x80 for block in blocks[1:])


def test_without_a_key_nothing_opens(seal) -> None:
    """Neither no identity nor another one opens a capture, and the error says what to do."""
    path = seal()
    with pytest.raises(UsageError, match=r"encrypted.*--identity FILE"):
        CaptureReader.open(path)
    with pytest.raises(UsageError, match="another key"):
        CaptureReader.open(path, identities=ephemeral_identity()[0])


def test_a_killed_writer_leaves_a_sealed_file_that_opens(seal, pair) -> None:
    """Without footer, and cut anywhere, what is whole is read and the loss is stated."""
    path = seal(close=False)
    whole = path.read_bytes()
    with CaptureReader.open(path, identities=pair[0]) as reader:
        assert len(reader) == 5
        assert not reader.complete
    path.write_bytes(whole[:-40])
    with CaptureReader.open(path, identities=pair[0]) as reader:
        assert [item.seq for item in reader.exchanges()] == [0, 1, 2, 3, 4][: len(reader)]
        assert 3 <= len(reader) <= 5
        assert reader.problems


def _blocks(data: bytes) -> list[Block]:
    return [
        item
        for item in scan_blocks(lambda at, n: data[at : at + n], 64, len(data))
        if isinstance(item, Block)
    ]


def _bytes(data: bytes, block: Block) -> bytes:
    return data[block.position : block.end]


def test_blocks_cannot_be_swapped_or_put_in(seal, pair, tmp_path: Path, make_exchange) -> None:
    """A block at another number, of another file or not sealed at all is refused, sound checksums or not."""
    path = seal(close=False)
    data = path.read_bytes()
    exchanges = [block for block in _blocks(data) if block.header.type == BlockType.EXCHANGES]
    first, second = exchanges[0], exchanges[1]
    other = tmp_path / "open.reel"
    writer = CaptureWriter.create(other, new_header(source="x", started_wall_ns=1))
    writer.write(make_exchange(77, 0))
    writer.close()
    foreign = _bytes(other.read_bytes(), _blocks(other.read_bytes())[1])
    head = first.header.pack()
    head = head[:16] + second.header.pack()[16:20] + head[20:]  # the other block's number
    renumbered = _resealed_header(head) + first.stored
    for intruder in (foreign, renumbered):
        path.write_bytes(data[: first.position] + intruder + data[first.end :])
        with CaptureReader.open(path, identities=pair[0]) as reader:
            seqs = [item.seq for item in reader.exchanges()]
            assert 77 not in seqs
            assert 0 not in seqs
            assert any("cannot be decoded" in problem for problem in reader.problems)


def _resealed_header(header: bytes) -> bytes:
    return header[:-4] + struct.pack("<I", zlib.crc32(header[:-4]))


@given(st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_changed_header_field_is_noticed(pair, data: st.DataObject) -> None:
    """Every byte of a block's header that a reader trusts is authenticated."""
    packer = SealedPacker(b"k" * 32, b"f" * 64)
    block_bytes = packer.pack(BlockType.EXCHANGES, b"payload" * 30, rows=3, first_ns=1, last_ns=9)
    at = data.draw(st.sampled_from([8, 9, *range(12, 48)]))  # 10 and 11 are reserved
    header = bytearray(block_bytes[:56])
    header[at] ^= data.draw(st.integers(1, 255))
    changed = _resealed_header(bytes(header)) + block_bytes[56:]
    block = read_block(lambda position, size: changed[position : position + size], 0)
    if block is not None:
        with pytest.raises(CaptureError, match="not as it was written"):
            SealedOpener(lambda _number: None, b"k" * 32, b"f" * 64).open(block)


def test_a_block_of_another_file_is_refused() -> None:
    """The file's own header is authenticated with each block."""
    data = SealedPacker(b"k" * 32, b"f" * 64).pack(BlockType.META, b"payload")
    block = read_block(lambda position, size: data[position : position + size], 0)
    assert block is not None
    assert SealedOpener(lambda _number: None, b"k" * 32, b"f" * 64).open(block) == b"payload"
    with pytest.raises(CaptureError):
        SealedOpener(lambda _number: None, b"k" * 32, b"g" * 64).open(block)


@given(st.binary(max_size=3000))
@settings(max_examples=50)
def test_sealed_payloads_come_back(payload: bytes) -> None:
    """Whatever was sealed is what is opened, and no two blocks share a nonce."""
    packer = SealedPacker(b"k" * 32, b"f" * 64)
    opener = SealedOpener(lambda _number: None, b"k" * 32, b"f" * 64)
    numbers = []
    for _ in range(2):
        data = packer.pack(BlockType.EXCHANGES, payload)
        block = read_block(lambda position, size, data=data: data[position : position + size], 0)
        assert block is not None
        assert opener.open(block) == payload
        numbers.append(block.header.number)
    assert numbers == [1, 2]


@pytest.mark.parametrize("payload", [b"", b"junk" * 100, b"age-encryption.org/v1\n junk"])
def test_a_damaged_key_block_is_an_error_in_one_sentence(payload: bytes, pair) -> None:
    """What is no age envelope never gets past as anything but an error for the user."""
    with pytest.raises((CaptureError, UsageError)):
        unwrap(payload, pair[0], name="x.reel")


def test_a_key_block_with_odd_content_is_damage(pair) -> None:
    """An envelope that age opens and that holds no key is a CaptureError."""
    import pyrage

    recipient = pyrage.x25519.Recipient.from_str(pair[1])
    for content in (b"", b"\xc1", b"\x80", b"\x81\xa3key\xa1x", b"\x82\xa3key\xa1x\xaarecipients\x90"):
        with pytest.raises(CaptureError, match="damaged"):
            unwrap(pyrage.encrypt(content, [recipient]), pair[0], name="x.reel")


def test_several_recipients_and_key_kinds_read_one_capture(tmp_path: Path) -> None:
    """Each of an age key, another one and an SSH key opens what was sealed for all three."""
    ssh = Ed25519PrivateKey.generate()
    encoding = serialization.Encoding
    (tmp_path / "ssh").write_bytes(
        ssh.private_bytes(encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    )
    (tmp_path / "ssh").chmod(0o600)
    public_bytes = ssh.public_key().public_bytes(encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    (tmp_path / "ssh.pub").write_bytes(public_bytes + b" me@here\n")
    first, second = new_identity(), new_identity()
    (tmp_path / "team.txt").write_text(f"# our team\n{second[1]}\n\n")
    public = (tmp_path / "ssh.pub").read_text().strip()
    recipients = read_recipients([first[1], str(tmp_path / "team.txt"), public])
    assert recipients == (first[1], second[1], public)
    payload = wrap(Envelope(key=b"k" * 32, recipients=recipients))
    for name, secret in (("first", first[0]), ("second", f"# a comment\n{second[0]}\n")):
        (tmp_path / name).write_text(secret)
        (tmp_path / name).chmod(0o600)
    for name in ("first", "second", "ssh"):
        envelope = unwrap(payload, read_identities([tmp_path / name]), name="x")
        assert envelope.key == b"k" * 32
        assert envelope.recipients == recipients


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("age1nonsense", "no recipient"),
        ("ssh-ed25519 nonsense", "no recipient"),
        ("/no/such/file", "neither a recipient nor a file"),
        ("AGE-SECRET-KEY-1QQQQ", "its public half"),
    ],
)
def test_a_wrong_recipient_is_a_usage_error(value: str, said: str) -> None:
    """It is found before anything is written, and a private key is never shown."""
    with pytest.raises(UsageError, match=said) as caught:
        read_recipients([value])
    assert "1QQQQ" not in str(caught.value)


def test_a_file_without_recipients_is_a_usage_error(tmp_path: Path) -> None:
    """An empty file does not mean that nobody may read."""
    (tmp_path / "none").write_text("# nobody\n")
    with pytest.raises(UsageError, match="holds no recipient"):
        read_recipients([str(tmp_path / "none")])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no identity"),
        ("AGE-SECRET-KEY-1JUNK\n", "no identity"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\njunk\n", "no identity"),
        ("age-encryption.org/v1\n-> scrypt x\n", "passphrase"),
        ("\u00e9", "no identity"),
    ],
)
def test_a_wrong_identity_is_a_usage_error(tmp_path: Path, content: str, said: str) -> None:
    """The error names the file and nothing of what is in it."""
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(UsageError, match=said) as caught:
        read_identities([path])
    assert "JUNK" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_identity_must_be_private(tmp_path: Path) -> None:
    """A key that others can read is refused, as key files are; an absent one is named."""
    path = tmp_path / "key"
    path.write_text(new_identity()[0])
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        read_identities([path])
    with pytest.raises(UsageError, match="give a file that exists"):
        read_identities([tmp_path / "absent"])


def test_identities_come_from_where_they_are_in_effect(tmp_path: Path, pair) -> None:
    """The innermost block wins over the environment, which may name several files."""
    secrets = [new_identity() for _ in range(2)]
    for number, (secret, _) in enumerate(secrets):
        (tmp_path / f"{number}").write_text(secret)
        (tmp_path / f"{number}").chmod(0o600)
    environment = {IDENTITY_VARIABLE: os.pathsep.join(str(tmp_path / f"{n}") for n in range(2))}
    assert len(identities_in_effect(environment).keys) == 2
    with use_identities(pair[0]):
        assert identities_in_effect(environment) is pair[0]
    assert identities_in_effect({}).keys == ()
    assert "pyrage" not in repr(pair[0])


def test_open_captures_never_load_the_cipher(write_capture, make_exchange) -> None:
    """Reading a capture that is not sealed asks for no identity, whatever the environment names."""
    with CaptureReader.open(write_capture([make_exchange()])) as reader:
        assert reader.recipients == ()
        assert type(reader._opener).__name__ == "BlockOpener"


def test_a_bad_recipient_leaves_no_file(tmp_path: Path) -> None:
    """A capture for a recipient that is none is refused before its file is made."""
    path = tmp_path / "a.reel"
    with pytest.raises(UsageError):
        CaptureWriter.create(path, new_header(source="x", started_wall_ns=1), recipients=["age1x"])
    assert not path.exists()


def test_the_key_block_is_found_right_behind_the_header(seal) -> None:
    """The format's first block of a sealed file is the KEY block, number 0."""
    data = seal().read_bytes()
    block = read_block(lambda position, size: data[position : position + size], FILE_HEADER.size)
    assert block is not None
    assert (block.header.type, block.header.number) == (BlockType.KEY, 0)
    assert block.stored.startswith(encryption._AGE_MAGIC)
    assert BlockPacker().pack(BlockType.KEY, b"x", compress=False)[56:] == b"x"


@given(st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_damaged_sealed_capture_opens_or_is_a_capture_error(
    tmp_path_factory, make_exchange, pair, data: st.DataObject
) -> None:
    """Cut anywhere and with bytes changed anywhere: CaptureError, or exchanges that were really written."""
    path = tmp_path_factory.mktemp("damaged") / "sealed.reel"
    exchanges = [make_exchange(seq, seq * 10, body=b"b%d" % seq * 30) for seq in range(12)]
    with CaptureWriter.create(
        path, new_header(source="x", started_wall_ns=1), recipients=[pair[1]]
    ) as writer:
        for number, exchange in enumerate(exchanges):
            writer.write(exchange)
            if number % 4 == 3:
                writer.flush()
    content = bytearray(path.read_bytes())
    places = st.integers(0, 2**20)  # keys are random, so the file's length differs from run to run
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(places) % len(content)] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content[: data.draw(places) % (len(content) + 1)]))
    for salvage in (False, True):
        try:
            with CaptureReader.open(path, identities=pair[0], salvage=salvage) as reader:
                found = list(reader.exchanges())
                list(reader.messages())
                _ = reader.endpoint_labels, reader.duration_ns, len(reader)
        except CaptureError:
            continue
        assert all(exchange in exchanges for exchange in found)
