"""tshark reads the same captures: the same requests, the same responses, each to its own request."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from captures.model import Exchange, Response
from tests.recorder.importers.packets import frames, write_pcap
from tests.recorder.importers.traffic import DISTURBANCES, GAPS, read_pcap

pytestmark = pytest.mark.tshark

SEEDS = (1, 2, 3)
Found = Counter[tuple[str, str]]


@dataclass(frozen=True)
class Both:
    """What tshark and we found in one file with all the traffic."""

    requests: Found  # by tshark: target and method
    answers: Found  # by tshark: target and status
    exchanges: list[Exchange]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """One file with every kind of traffic, read once by either."""
    packets = [
        packet
        for kind, make in {**DISTURBANCES, **GAPS}.items()
        for seed in SEEDS
        for packet in make(kind, seed)
    ]
    packets.sort(key=lambda packet: packet.time_ns)
    path = write_pcap(tmp_path_factory.mktemp("pcap") / "made.pcap", frames(packets), nano=True)
    exchanges, _, _ = read_pcap(path)
    requests: Found = Counter()
    answers: Found = Counter()
    for methods, targets, statuses, answered in tshark_rows(path):
        requests.update(zip(targets, methods, strict=True))
        answers.update(
            zip((each.removeprefix("http://shop.test") for each in answered), statuses, strict=False)
        )
    return Both(requests, answers, exchanges)


def tshark_rows(path: Path) -> Iterator[list[list[str]]]:
    """Methods, targets, statuses and the targets that these answer, of each packet that ends a message."""
    fields = ("http.request.method", "http.request.uri", "http.response.code", "http.response_for.uri")
    command = [
        "tshark", "-n", "-r", str(path), "-o", "tcp.reassemble_out_of_order:TRUE", "-d", "tcp.port==80,http",
        "-Y", "http.request or http.response", "-T", "fields", "-E", "aggregator=;", "-E", "separator=|",
    ]  # fmt: skip
    for field in fields:
        command += ["-e", field]
    environment = {**os.environ, "LC_ALL": "C"}
    listed = subprocess.run(command, capture_output=True, check=True, text=True, env=environment, timeout=100)
    for line in listed.stdout.splitlines():
        yield [field.split(";") if field else [] for field in line.split("|")]


def of_kind(kind: str, found: Found) -> Found:
    start = f"/{kind.replace(' ', '-')}/"
    return Counter({pair: count for pair, count in found.items() if pair[0].startswith(start)})


def our_requests(exchanges: list[Exchange]) -> Found:
    return Counter(
        (exchange.request.target.decode(), exchange.request.method.decode()) for exchange in exchanges
    )


def our_answers(exchanges: list[Exchange]) -> Found:
    return Counter(
        (exchange.request.target.decode(), str(exchange.outcome.status))
        for exchange in exchanges
        if isinstance(exchange.outcome, Response)
    )


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_same_requests_as_tshark(found: Both, kind: str) -> None:
    """The requests are those that tshark finds, whatever happened to the packets on the way."""
    requests = of_kind(kind, found.requests)
    assert sum(requests.values()) >= 12 * 3 * len(SEEDS)
    assert of_kind(kind, our_requests(found.exchanges)) == requests


# tshark 4.0 names the request of only one of several responses that end in one packet.
@pytest.mark.parametrize("kind", [kind for kind in DISTURBANCES if kind not in {"pipelining", "all of it"}])
def test_same_pairs_as_tshark(found: Both, kind: str) -> None:
    """Each request has the status that tshark gives it."""
    assert of_kind(kind, our_answers(found.exchanges)) == of_kind(kind, found.answers)


def test_same_requests_with_gaps_in_responses(found: Both) -> None:
    """Where packets of responses are missing, the requests are still those that tshark finds."""
    kind = "gaps in responses"
    assert of_kind(kind, our_requests(found.exchanges)) == of_kind(kind, found.requests)


@pytest.mark.parametrize("kind", GAPS)
def test_no_request_of_tshark_is_missing(found: Both, kind: str) -> None:
    """Where any packets are missing, every request that tshark finds is found."""
    requests = of_kind(kind, found.requests)
    assert requests
    assert requests <= of_kind(kind, our_requests(found.exchanges))
