from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest

from captures.errors import UsageError, WriteError
from recorder.ca import FolderError, authority_folder, ensure_authority, export_certificate
from recorder.modes import Mode, parse_listen, parse_modes


def test_a_ca_is_made_once_with_private_files(tmp_path: Path):
    """The first call makes folder and key readable by their owner alone; the second finds them."""
    confdir = tmp_path / "new" / "confdir"
    made = ensure_authority(confdir)
    found = ensure_authority(confdir)
    assert (made.created, found.created) == (True, False)
    assert made.fingerprint == found.fingerprint
    assert len(made.fingerprint.split(":")) == 32
    assert b"BEGIN CERTIFICATE" in made.pem
    assert b"PRIVATE KEY" not in made.pem
    assert stat.S_IMODE(confdir.stat().st_mode) == 0o700
    with_key = [path for path in confdir.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in with_key] == [0o600]


def test_a_folder_that_cannot_be_made_is_wrong_usage(tmp_path: Path):
    """The message names the folder and the option."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--confdir"):
        ensure_authority(tmp_path / "file" / "confdir")


def test_a_broken_certificate_is_wrong_usage(tmp_path: Path):
    """A damaged file is not used and not overwritten."""
    authority = ensure_authority(tmp_path)
    authority.path.write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="not a certificate"):
        ensure_authority(tmp_path)
    assert authority.path.read_bytes() == b"nonsense"


def test_a_broken_key_is_wrong_usage(tmp_path: Path):
    """What the proxy could not sign with is told before anything is recorded."""
    authority = ensure_authority(tmp_path)
    (key,) = (path for path in tmp_path.glob("*.pem") if b"PRIVATE KEY" in path.read_bytes())
    key.write_bytes(key.read_bytes()[:300])
    with pytest.raises(UsageError, match=f"{key} is not a certificate with its key"):
        ensure_authority(tmp_path)
    assert authority.path.exists()


def test_the_certificate_is_exported_to_a_new_file(tmp_path: Path, confdir: Path):
    """What is written is the certificate and no key; nothing is overwritten."""
    authority = ensure_authority(confdir)
    export_certificate(authority, tmp_path / "ca.pem")
    assert (tmp_path / "ca.pem").read_bytes() == authority.pem
    with pytest.raises(UsageError, match="exists"):
        export_certificate(authority, tmp_path / "ca.pem")
    with pytest.raises(WriteError, match="cannot be written"):
        export_certificate(authority, tmp_path / "absent" / "ca.pem")


def modes(*specs: str) -> tuple[Mode, ...]:
    return parse_modes([f"{spec}@{8081 + at}" for at, spec in enumerate(specs)], parse_listen("127.0.0.1:0"))


@pytest.fixture
def unusable(tmp_path: Path) -> Path:
    """A folder below a file, which not even root can make."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "confdir"


def test_plain_http_needs_no_folder_for_a_ca(unusable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The recording has a CA of its own then, which is gone with it."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with authority_folder(unusable, modes("reverse:http://a:1"), output=tmp_path / "x.reel") as folder:
        assert folder.parent == scratch
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert ensure_authority(folder).created
    assert list(scratch.iterdir()) == []


def test_without_temporary_files_the_outputs_folder_serves(
    unusable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In a container where only the output's folder can be written to, it holds the CA for the time."""
    monkeypatch.setattr(tempfile, "tempdir", str(unusable))
    with authority_folder(unusable, modes("reverse:http://a:1"), output=tmp_path / "x.reel") as folder:
        assert folder.parent == tmp_path
    absent = tmp_path / "absent" / "x.reel"
    with (
        pytest.raises(FolderError, match="--confdir"),
        authority_folder(unusable, modes("reverse:http://a:1"), output=absent),
    ):
        pass


@pytest.mark.parametrize("spec", ["reverse:https://a:1", "regular", "upstream:http://a:1", "socks5"])
def test_where_clients_may_speak_tls_the_folder_must_work(unusable: Path, tmp_path: Path, spec: str):
    """One such mode among several is enough to be told about --confdir."""
    with (
        pytest.raises(FolderError, match="--confdir"),
        authority_folder(unusable, modes("reverse:http://a:1", spec), output=tmp_path / "x.reel"),
    ):
        pass


def test_a_folder_that_works_is_used(confdir: Path, tmp_path: Path):
    """Plain HTTP or not, the CA that clients may trust already is the one."""
    with authority_folder(confdir, modes("reverse:http://a:1"), output=tmp_path / "x.reel") as folder:
        assert folder == confdir


def test_a_user_without_a_home_is_told_to_name_a_folder(monkeypatch: pytest.MonkeyPatch):
    """As in a container whose user is not in its list of users."""

    def no_home(_path: Path) -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "expanduser", no_home)
    with pytest.raises(FolderError, match="no home folder"):
        ensure_authority(Path("~/.hookreel"))
