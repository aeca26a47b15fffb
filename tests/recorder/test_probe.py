"""The readiness probe for machines without curl."""

from __future__ import annotations

import threading

import pytest

from recorder import probe
from recorder.probe import is_ready, main, wait_until_ready
from tests.recorder.support import RawServer

READY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n"
DRAINING = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def test_it_tells_ready_from_draining(start_server) -> None:
    """Only a 200 counts."""
    assert is_ready("127.0.0.1", start_server(answers={"/ready": (READY, None)}).port)
    assert not is_ready("127.0.0.1", start_server(answers={"/ready": (DRAINING, None)}).port)
    assert not is_ready("127.0.0.1", start_server(answers={"/ready": (b"nonsense\r\n\r\n", None)}).port)


def test_nobody_there_is_not_ready() -> None:
    """A port without a listener is an answer, not an error."""
    server = RawServer()
    server.start()
    server.stop()
    assert not is_ready("127.0.0.1", server.port)
    assert main([str(server.port)]) == 1


def test_it_waits_until_the_recorder_is_there(start_server) -> None:
    """It asks again until it is ready, and not once more."""
    server = start_server(answers={"/ready": (DRAINING, None)})
    asked = threading.Event()

    def sleep(_seconds: float) -> None:
        server.answers["/ready"] = (READY, None)
        asked.set()

    assert wait_until_ready("127.0.0.1", server.port, wait_s=60, sleep=sleep)
    assert asked.is_set()
    assert len(server.seen) == 2


def test_it_gives_up_when_the_time_is_over(start_server) -> None:
    """The clock decides, not the number of attempts."""
    server = start_server(answers={"/ready": (DRAINING, None)})
    now = iter(range(10))
    assert not wait_until_ready(
        "127.0.0.1", server.port, wait_s=3, clock_s=lambda: float(next(now)), sleep=lambda _: None
    )
    assert len(server.seen) == 3


@pytest.mark.parametrize("address", ["{port}", "127.0.0.1:{port}"])
def test_addresses_are_written_as_for_metrics(start_server, address: str) -> None:
    """A port alone is on this machine."""
    port = start_server(answers={"/ready": (READY, None)}).port
    assert main([address.format(port=port)]) == 0


def test_a_wrong_address_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence shows how it is written."""
    with pytest.raises(SystemExit) as ended:
        main(["nowhere"])
    assert ended.value.code == 2
    assert "9464" in capsys.readouterr().err


def test_an_answer_that_does_not_come_is_not_ready(monkeypatch: pytest.MonkeyPatch, start_server) -> None:
    """A recorder that hangs must not hang its probe."""
    monkeypatch.setattr(probe, "ANSWER_TIMEOUT_S", 0.05)
    held = threading.Event()

    def hold(*_: object) -> None:
        held.wait(10)

    server = start_server(answers={"/ready": hold})
    try:
        assert not is_ready("127.0.0.1", server.port)
    finally:
        held.set()
