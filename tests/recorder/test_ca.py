from __future__ import annotations

import stat
from pathlib import Path

import pytest

from captures.errors import UsageError, WriteError
from recorder.ca import ensure_authority, export_certificate


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


def test_the_certificate_is_exported_to_a_new_file(tmp_path: Path, confdir: Path):
    """What is written is the certificate and no key; nothing is overwritten."""
    authority = ensure_authority(confdir)
    export_certificate(authority, tmp_path / "ca.pem")
    assert (tmp_path / "ca.pem").read_bytes() == authority.pem
    with pytest.raises(UsageError, match="exists"):
        export_certificate(authority, tmp_path / "ca.pem")
    with pytest.raises(WriteError, match="cannot be written"):
        export_certificate(authority, tmp_path / "absent" / "ca.pem")
