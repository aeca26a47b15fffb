"""Choosing, rotating, withholding and sealing, through a real recorder."""

from __future__ import annotations

import os

import pytest

from captures.encryption import IDENTITY_VARIABLE, new_identity
from captures.errors import UsageError
from captures.reader import CaptureReader
from recorder.rotation import part_path
from tests.recorder.support import RawClient, read_capture

TOKEN = b"a-token-that-must-not-be-in-the-file"
SESSION = b"a-session-that-must-not-be-in-the-file"


def request(target: str, *headers: bytes, body: bytes = b"", method: bytes = b"POST") -> bytes:
    lines = [b"%s %s HTTP/1.1" % (method, target.encode()), b"Host: h", *headers]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


def adds_up(counters: dict[str, int]) -> bool:
    return counters["seen"] == sum(
        counters[name] for name in ("written", "sampled_out", "dropped", "in_flight")
    )


def test_only_what_was_chosen_is_recorded_and_all_of_it_passes(start_server, start_recorder):
    """Conditions decide what is written; clients and server notice nothing; the account says how many."""
    server = start_server(answers={"/bad": (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",)})
    recorder = start_recorder(
        server.port,
        "--match",
        "method=POST path=/api/*",
        "--match",
        "status=5xx",
        "--ignore",
        "path=*/health",
    )
    targets = ["/api/a", "/api/health", "/other", "/bad"]
    with RawClient(recorder.port) as client:
        answers = [client.call(request(target)).status for target in targets]
        answers.append(client.call(request("/api/get", method=b"GET")).status)
    assert recorder.stop() == 0
    assert answers == [200, 200, 200, 503, 200]
    assert len(server.seen) == 5
    capture = read_capture(recorder.output)
    assert [item.request.target for item in capture.exchanges] == [b"/api/a", b"/bad"]
    assert capture.complete
    assert capture.counters["sampled_out"] == 3
    assert capture.counters == {name: recorder.account[name] for name in capture.counters}
    assert adds_up(capture.counters)


def test_withheld_credentials_are_nowhere_in_the_file(start_server, start_recorder):
    """Request, response, query and body lose them; the server got the real ones; the end says how many."""
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=%s; Path=/\r\nContent-Length: %d\r\n\r\n%s" % (
        SESSION,
        len(TOKEN) + 19,
        b'{"access_token":"%s"}' % TOKEN,
    )
    server = start_server(default=(answer,))
    recorder = start_recorder(server.port, "--withhold-credentials", "--redact-header", "X-Internal")
    with RawClient(recorder.port) as client:
        for _ in range(2):
            client.call(
                request(
                    f"/login?apikey={TOKEN.decode()}",
                    b"Authorization: Bearer " + TOKEN,
                    b"Cookie: sid=" + SESSION,
                    b"X-Internal: hidden-value",
                )
            )
    assert recorder.stop() == 0
    assert TOKEN in server.seen[0].head
    found = repr(read_capture(recorder.output).exchanges).encode()
    for secret in (TOKEN, SESSION, b"hidden-value"):
        assert secret not in found
    assert recorder.account["withheld"] == 2
    assert recorder.account["withheld_uses"] >= 8


def test_max_size_ends_the_recording_by_itself(start_server, start_recorder):
    """The command ends well, the file is within its size, and what was not written is counted."""
    server = start_server()
    recorder = start_recorder(server.port, "--max-size", "100KiB")
    body = bytes(range(256)) * 80
    with RawClient(recorder.port) as client:
        statuses = []
        while not statuses or statuses[-1] == 200:
            try:
                statuses.append(client.call(request("/x", body=body + b"%d" % len(statuses))).status)
            except OSError:
                break
    assert recorder.wait() == 0
    assert "--max-size" in recorder.stderr
    assert recorder.output.stat().st_size <= 100 * 1024
    capture = read_capture(recorder.output)
    assert capture.complete
    assert adds_up(capture.counters)
    assert capture.counters["sampled_out"] >= 1
    assert capture.counters["seen"] == len(server.seen)


def test_each_part_of_a_rotated_recording_opens_by_itself(start_server, start_recorder):
    """Parts hold all exchanges once, in order, and their accounts add up to the recording's."""
    server = start_server()
    recorder = start_recorder(server.port, "--rotate-size", "64KiB")
    with RawClient(recorder.port) as client:
        for number in range(12):
            client.call(request(f"/{number}", body=os.urandom(20_000)))
    assert recorder.stop() == 0
    assert not recorder.output.exists()
    captures = []
    while (path := part_path(recorder.output, len(captures) + 1)).exists():
        captures.append(read_capture(path))
    assert len(captures) >= 4
    assert all(capture.complete for capture in captures)
    targets = [item.request.target for capture in captures for item in capture.exchanges]
    assert targets == [b"/%d" % number for number in range(12)]
    for name in ("seen", "written", "sampled_out", "dropped", "in_flight"):
        assert sum(capture.counters[name] for capture in captures) == recorder.account[name]


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_an_encrypted_recording_needs_its_key(
    start_server, start_recorder, tmp_path, monkeypatch, workers: str
):
    """Nothing of the traffic is in the file, with workers too; the identity in the environment opens it."""
    secret, recipient = new_identity()
    server = start_server()
    recorder = start_recorder(server.port, "--encrypt-to", recipient, "--workers", workers)
    for number in range(4):
        with RawClient(recorder.port) as client:
            client.call(request(f"/secret-path-{number}", b"Authorization: Bearer " + TOKEN))
    assert recorder.stop() == 0
    data = recorder.output.read_bytes()
    assert TOKEN not in data
    assert b"secret-path" not in data
    assert list(recorder.output.parent.iterdir()) == [recorder.output]
    with pytest.raises(UsageError, match="encrypted"):
        CaptureReader.open(recorder.output)
    key = tmp_path / "key"
    key.write_text(secret)
    key.chmod(0o600)
    monkeypatch.setenv(IDENTITY_VARIABLE, str(key))
    capture = read_capture(recorder.output)
    assert sorted(item.request.target for item in capture.exchanges) == [
        b"/secret-path-%d" % number for number in range(4)
    ]


@pytest.mark.parametrize(
    "options",
    [("--rotate-size", "64KiB"), ("--encrypt-to", new_identity()[1]), ("--withhold-credentials",)],
    ids=lambda options: options[0],
)
def test_a_full_disk_stops_the_recording_and_not_the_traffic(start_server, start_recorder, options):
    """However the capture is kept, every request is answered and every loss is counted."""
    server = start_server()
    recorder = start_recorder(server.port, *options, size_limit=50_000)
    with RawClient(recorder.port) as client:
        statuses = [client.call(request(f"/{number}", body=os.urandom(30_000))).status for number in range(8)]
    assert recorder.stop() == 1
    assert statuses == [200] * 8
    counters = {
        name: recorder.account[name] for name in ("seen", "written", "sampled_out", "dropped", "in_flight")
    }
    assert adds_up(counters)
    assert counters["seen"] == 8
    assert counters["dropped"] >= 1
    assert "free space" in recorder.stderr


def test_a_wrong_choice_is_told_before_anything_is_made(start_recorder, confdir, tmp_path):
    """A condition that is none ends the command with exit code 2 and leaves no file."""
    from tests.recorder.support import run_command

    result = run_command(
        *(
            "record",
            "--mode",
            "regular",
            "--confdir",
            confdir,
            "-o",
            tmp_path / "a.reel",
            "--match",
            "verb=GET",
        )
    )
    assert result.returncode == 2
    assert "unknown field" in result.stderr
    assert list(tmp_path.iterdir()) == []
