"""What was withheld when it was recorded is named by ``info`` and put back by ``replay --credentials``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from captures.codec import exchange_row
from captures.keys import new_key, write_key_file
from captures.model import Headers
from captures.reader import CaptureReader
from captures.writer import new_header
from hookreel.account import account_of
from hookreel.cli import cli
from recorder.options import build_choices, open_sink
from tests.recorder.made import made_exchange
from tests.recorder.support import RawServer

HEADERS: Headers = (
    (b"Host", b"h"),
    (b"Authorization", b"Bearer the-recorded-bearer-token-of-ada"),
    (b"Cookie", b"theme=dark; sid=the-recorded-session-of-ada"),
    (b"X-Api-Key", b"the-recorded-api-key"),
)


def record(output: Path, key_file: Path) -> list[str]:
    """Two exchanges with withheld credentials; the names that info gives to them."""
    choices = build_choices(withhold_credentials=True, key_file=key_file)
    header = new_header(source="x", started_wall_ns=1, fingerprint_salt=choices.fingerprint_salt)
    sink = open_sink(choices, output, header, note=print)
    sink.start()
    for _ in range(2):
        exchange = made_exchange(sink.saw(), headers=HEADERS)
        bare = replace(exchange, request=replace(exchange.request, body=b"", method=b"GET"))
        sink.offer(exchange_row(bare))
    assert sink.close(in_flight=0, connections=1).cut_by == ""
    with CaptureReader.open(output) as reader:
        return sorted(account_of(reader).credentials)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A key that is kept."""
    write_key_file(tmp_path / "withhold.key", new_key())
    return tmp_path / "withhold.key"


def test_info_gives_each_withheld_credential_one_name(tmp_path: Path, key_file: Path) -> None:
    """Kind and name stay readable, and with a kept key the names are those of the recording before."""
    names = record(tmp_path / "a.reel", key_file)
    assert [name.rsplit(":", 1)[0] for name in names] == [
        "api-key:x-api-key",
        "bearer",
        "cookie:sid",
        "cookie:theme",
    ]
    assert record(tmp_path / "b.reel", key_file) == names


def test_a_replay_puts_real_credentials_in(tmp_path: Path, key_file: Path) -> None:
    """The target gets the values of the credentials file at the places of the stand-ins."""
    capture = tmp_path / "a.reel"
    names = record(capture, key_file)
    values = {name: f"real-{name.split(':')[0]}-{number}" for number, name in enumerate(names)}
    credentials = tmp_path / "credentials.toml"
    lines = [
        "[credentials]",
        *(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in values.items()),
    ]
    credentials.write_text("\n".join(lines))
    credentials.chmod(0o600)
    server = RawServer()
    server.start()
    try:
        result = CliRunner().invoke(
            cli,
            [
                *("replay", str(capture), "--target", f"http://127.0.0.1:{server.port}"),
                *("--credentials", str(credentials), "--json", "--lag-p99", "10s", "--lag-max", "10s"),
                *("--rate-error", "100%"),
            ],
        )
    finally:
        server.stop()
    assert result.exit_code in {0, 4}, result.output
    assert len(server.seen) == 2
    head = server.seen[0].head.decode()
    assert "withheld" not in head
    assert f"Bearer {values[names[1]]}\r\n" in head
    assert f"theme={values[names[3]]}; sid={values[names[2]]}\r\n" in head
    assert f"X-Api-Key: {values[names[0]]}\r\n" in head
