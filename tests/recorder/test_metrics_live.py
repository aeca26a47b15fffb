"""The metrics of a recorder that runs: with traffic, in a drain, with several workers."""

from __future__ import annotations

import random
import signal
import threading
import time
import urllib.error
import urllib.request

import pytest

from recorder import probe
from tests.recorder.support import WAIT_S, RawClient, Recorder

CALL = b"GET /call HTTP/1.1\r\nHost: h\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(recorder: Recorder, path: str) -> tuple[int, str]:
    url = str(recorder.ready["metrics"]).replace("/metrics", path)
    try:
        with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def metric(recorder: Recorder, name: str) -> float:
    lines = get(recorder, "/metrics")[1].splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith(f"{name} ")]
    return float(value)


def wait_for(recorder: Recorder, name: str, value: float) -> float:
    """The metric once it has the value, or what it has after a while."""
    deadline_s = time.monotonic() + WAIT_S
    while metric(recorder, name) != value and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return metric(recorder, name)


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one", "workers"])
def test_the_page_follows_the_traffic(start_recorder, start_server, options: tuple[str, ...]) -> None:
    """Counts are those of the traffic, and the end's account is what the page said last."""
    recorder = start_recorder(start_server().port, "--metrics", "127.0.0.1:0", *options)
    assert get(recorder, "/ready") == (200, "ready\n")
    for _ in range(4):
        with RawClient(recorder.port) as client:
            assert [client.call(CALL).status for _ in range(5)] == [200] * 5
    assert wait_for(recorder, "hookreel_exchanges_written_total", 20) == 20
    assert metric(recorder, "hookreel_exchanges_seen_total") == 20
    assert wait_for(recorder, "hookreel_connections_total", 4) == 4
    assert wait_for(recorder, "hookreel_added_latency_seconds_count", 20) == 20
    assert metric(recorder, "hookreel_added_latency_seconds_sum") > 0
    assert metric(recorder, "hookreel_recording") == 1
    assert recorder.stop() == 0
    assert recorder.account["written"] == 20


def test_a_drain_is_not_ready_until_it_ends(start_recorder, start_server) -> None:
    """After SIGTERM balancers are told to go elsewhere while the last request is still answered."""
    asked, release = threading.Event(), threading.Event()

    def slowly(connection, _source) -> None:
        asked.set()
        release.wait(WAIT_S)
        connection.sendall(ANSWER)

    server = start_server(answers={"/slow": slowly})
    recorder = start_recorder(server.port, "--metrics", "127.0.0.1:0")
    port = int(str(recorder.ready["metrics"]).rsplit(":", 1)[1].split("/")[0])
    assert probe.main([str(port)]) == 0
    with RawClient(recorder.port) as client:
        client.socket.sendall(SLOW)
        assert asked.wait(WAIT_S)
        assert wait_for(recorder, "hookreel_exchanges_in_flight", 1) == 1
        recorder.process.send_signal(signal.SIGTERM)
        assert wait_for(recorder, "hookreel_accepting", 0) == 0
        assert get(recorder, "/ready") == (503, "draining\n")
        assert probe.main([str(port)]) == 1
        release.set()
        assert client.answer().status == 200
    assert recorder.wait() == 0
    assert recorder.account["written"] == 1


def test_a_full_disk_shows_while_traffic_passes(start_recorder, start_server) -> None:
    """The page says that nothing is recorded any more; readiness stays, since traffic passes."""
    recorder = start_recorder(start_server().port, "--metrics", "127.0.0.1:0", size_limit=50_000)
    bodies = random.Random(1)
    with RawClient(recorder.port) as client:
        for number in range(10):
            body = bodies.randbytes(20_000)  # does not compress
            post = b"POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (number, len(body))
            assert client.call(post + body).status == 200
        assert wait_for(recorder, "hookreel_recording", 0) == 0
        assert get(recorder, "/ready") == (200, "ready, not recording\n")
        assert client.call(CALL).status == 200
    assert metric(recorder, "hookreel_exchanges_dropped_total") > 0
    assert recorder.stop() == 1


def test_a_taken_metrics_port_is_told_before_anything_is_recorded(start_recorder, start_server) -> None:
    """No recording without the metrics that were asked for, and no file is left."""
    server = start_server()
    with pytest.raises(pytest.fail.Exception, match="--metrics"):
        start_recorder(server.port, "--metrics", f"127.0.0.1:{server.port}")
