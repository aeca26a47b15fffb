"""TLS facts and the proxy's own time reach the capture."""

from __future__ import annotations

import ssl
from collections import Counter
from pathlib import Path

import pytest
from mitmproxy.test import tflow

from captures.codec import build_facts, facts_map
from captures.errors import CaptureError
from captures.model import RecorderFacts
from captures.reader import CaptureReader
from recorder.facts import TlsTally, facts_of, tls_of
from recorder.latency import LatencyHistogram
from tests.recorder.support import RawClient

CALL = b"GET /call HTTP/1.1\r\nHost: h\r\n\r\n"


def test_facts_add_up_over_proxies() -> None:
    """Several workers' connections are counted together; what was not measured is left out."""
    one, two = TlsTally(client=Counter(a=1, b=2)), TlsTally(client=Counter(b=3), server=Counter(c=1))
    facts = facts_of(LatencyHistogram(), [one, two])
    assert facts == RecorderFacts(client_tls={"a": 1, "b": 5}, server_tls={"c": 1})
    added = LatencyHistogram()
    added.add(1000)
    assert facts_of(added, []).added_ns == {"p50": 1000, "p90": 1000, "p99": 1000, "max": 1000}


def test_tls_is_named_by_what_was_agreed() -> None:
    """Version, cipher and ALPN protocol; nothing for what is not known."""
    connection = tflow.tflow().client_conn
    connection.tls_version, connection.cipher, connection.alpn = "TLSv1.3", "TLS_AES_128_GCM_SHA256", b"h2"
    assert tls_of(connection) == "TLSv1.3 TLS_AES_128_GCM_SHA256 h2"
    connection.alpn = None
    assert tls_of(connection) == "TLSv1.3 TLS_AES_128_GCM_SHA256"


def test_facts_survive_the_file_format() -> None:
    """What is packed is what is read; other types are damage, not a crash."""
    facts = RecorderFacts(added_ns={"p50": 5}, client_tls={"TLSv1.3": 2})
    assert build_facts(facts_map(facts)) == facts
    assert build_facts({}) == RecorderFacts()
    for damaged in ({"added_ns": 7}, {"client_tls": {"x": "y"}}, {"server_tls": {1: 1}}, 5):
        with pytest.raises(CaptureError):
            build_facts(damaged)


def test_a_recording_tells_its_tls_and_its_own_time(start_recorder, start_server) -> None:
    """One client over TLS and one in the clear: one TLS connection, none with the upstream."""
    recorder = start_recorder(start_server().port)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for wrap in (None, context):
        client = RawClient(recorder.port)
        if wrap is not None:
            client.source.close()
            client.socket = wrap.wrap_socket(client.socket)
            client.source = client.socket.makefile("rb")
        assert client.call(CALL).status == 200
        client.close()
    recorder.stop()
    with CaptureReader.open(Path(recorder.output)) as reader:
        facts = reader.facts
    assert facts is not None
    assert sum(facts.client_tls.values()) == 1
    assert next(iter(facts.client_tls)).startswith("TLSv1.")
    assert facts.server_tls == {}
    assert 0 < facts.added_ns["p50"] <= facts.added_ns["max"]


def test_workers_tell_it_together(start_recorder, start_server) -> None:
    """The merged capture has the facts of all parts."""
    recorder = start_recorder(start_server().port, "--workers", "2")
    for _ in range(4):
        with RawClient(recorder.port) as client:
            assert client.call(CALL).status == 200
    recorder.stop()
    with CaptureReader.open(Path(recorder.output)) as reader:
        assert reader.facts is not None
        assert reader.facts.added_ns["p99"] > 0
