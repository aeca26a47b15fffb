from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from captures.credentials import find_credentials
from captures.errors import HookreelError
from captures.model import Exchange, Request, Response
from captures.writer import CaptureWriter, new_header
from hookreel.demo.keyring import pair_credentials, write_keyring
from hookreel.demo.tenants import new_tenants


def exchange(seq: int, token: str) -> Exchange:
    request = Request(
        method=b"GET",
        scheme=b"http",
        authority=b"localhost",
        target=b"/api/runs",
        http_version=b"HTTP/1.1",
        headers=((b"Host", b"localhost"), (b"Authorization", f"Bearer {token}".encode())),
    )
    response = Response(
        status=200,
        reason=b"OK",
        http_version=b"HTTP/1.1",
        headers=(),
        offset_ns=seq + 2,
        end_ns=seq + 3,
    )
    return Exchange(
        seq=seq, offset_ns=seq, request_end_ns=seq + 1, connection=0, request=request, outcome=response
    )


def write(path, header, tokens) -> None:
    with CaptureWriter.create(path, header) as writer:
        for seq, token in enumerate(tokens):
            writer.write(exchange(seq, token))


@pytest.fixture
def header():
    return new_header(source="test", started_wall_ns=1, lineage=(), anonymized=None, fingerprint_salt=None)


def test_each_pseudonym_is_paired_with_its_tenant(tmp_path, tenants, header):
    """The fingerprints of the anonymized tokens lead to the tenants that own the originals."""
    first, second = tenants
    write(tmp_path / "a.reel", header, [first.token, second.token, "stranger", first.token])
    write(tmp_path / "b.reel", header, ["one", "two", "three", "one"])
    paired = pair_credentials(tmp_path / "a.reel", tmp_path / "b.reel", tenants)
    names = {
        next(find_credentials(exchange(0, token).request.headers)).fingerprint(
            header.fingerprint_salt
        ): owner.name
        for token, owner in (("one", first), ("two", second))
    }
    assert paired == names


def test_a_tenant_that_never_called_is_an_error(tmp_path, tenants, header):
    """Without a call of every tenant the replay could not be authenticated, so it is said."""
    write(tmp_path / "a.reel", header, [tenants[0].token])
    with pytest.raises(HookreelError, match=tenants[1].name):
        pair_credentials(tmp_path / "a.reel", tmp_path / "a.reel", tenants)


def test_the_credentials_file_is_private_and_complete(tmp_path, tenants):
    """It maps each fingerprint to the target's own token and holds a secret for each hook."""
    path = tmp_path / "credentials.toml"
    target = new_tenants(lambda size: "5" * 2 * size)
    target = (replace(target[0], token='odd"token'), target[1])
    write_keyring(path, {"bearer:0123456789ab": "acme"}, target)
    document = tomllib.loads(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert document["credentials"] == {"bearer:0123456789ab": 'odd"token'}
    assert len(document["secrets"]) == 6
    assert document["secrets"]["POST /api/hooks/globex-slack"] == "5" * 32
