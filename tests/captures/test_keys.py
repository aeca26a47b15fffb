"""Keys: the PRF, key files, fingerprints, private files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from captures import keys
from captures.errors import UsageError, WriteError
from captures.keys import Prf, credential_fingerprint, new_key, read_key_file, write_key_file


def test_the_prf_depends_on_key_domain_and_value() -> None:
    """Equal input gives equal output; any change gives another."""
    prf = Prf(b"k" * 32)
    assert prf.digest("a", b"v") == Prf(b"k" * 32).digest("a", b"v")
    others = {
        prf.digest("b", b"v"),
        prf.digest("a", b"w"),
        Prf(b"j" * 32).digest("a", b"v"),
        prf.digest("a", b"v"),
    }
    assert len(others) == 4
    assert 0 <= prf.number("a", b"v", 10) < 10
    assert len({prf.number("a", b"%d" % n, 7) for n in range(200)}) == 7


def test_a_short_key_is_refused() -> None:
    """A key of a few bytes could be guessed."""
    with pytest.raises(UsageError):
        Prf(b"short")


def test_a_key_file_comes_back_and_is_private(tmp_path: Path) -> None:
    """Only its owner can read it, and it is never overwritten."""
    key, path = new_key(), tmp_path / "a.key"
    write_key_file(path, key)
    assert read_key_file(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="exists already"):
        write_key_file(path, key)


@pytest.mark.parametrize("content", ["", "hookreel-key-1:zz", "hookreel-key-1:abcd", "something else"])
def test_a_wrong_key_file_is_a_usage_error(tmp_path: Path, content: str) -> None:
    """The message names the file and shows nothing of its content."""
    path = tmp_path / "a.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(UsageError) as caught:
        read_key_file(path)
    assert "something else" not in str(caught.value)


def test_an_open_or_absent_key_file_is_a_usage_error(tmp_path: Path) -> None:
    """A key that others can read is refused with the command that helps."""
    path = tmp_path / "a.key"
    with pytest.raises(UsageError, match="cannot be read"):
        read_key_file(path)
    write_key_file(path, new_key())
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        read_key_file(path)


def test_neither_key_nor_credential_shows() -> None:
    """Repr and fingerprints reveal nothing, and fingerprints depend on the salt."""
    prf = Prf(b"0123456789abcdef0123456789abcdef")
    assert "0123456789abcdef" not in repr(prf)
    one = credential_fingerprint(b"s" * 16, "bearer", b"token")
    assert one == credential_fingerprint(b"s" * 16, "bearer", b"token")
    assert one != credential_fingerprint(b"t" * 16, "bearer", b"token")
    assert one != credential_fingerprint(b"s" * 16, "basic", b"token")
    assert len(one) == 12


def test_half_a_key_file_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk there is one sentence and no file that looks like a damaged key."""
    path = tmp_path / "a.key"
    monkeypatch.setattr(
        keys, "create_private_file", lambda at: (at.touch(), os.open("/dev/full", os.O_RDWR))[1]
    )
    with pytest.raises(WriteError, match="free space"):
        write_key_file(path, new_key())
    assert not path.exists()


def test_a_file_that_cannot_be_private_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without modes is named; nothing readable by others is left there."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(keys.os, "fchmod", refuse)
    with pytest.raises(WriteError, match="private"):
        write_key_file(tmp_path / "a.key", new_key())
    assert list(tmp_path.iterdir()) == []
