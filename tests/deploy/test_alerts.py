"""Alerts and runbook speak of metrics that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from captures.model import Counters
from recorder.latency import LatencyHistogram
from recorder.metrics import MetricsPage, Snapshot
from recorder.sink import Account

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def metrics() -> set[str]:
    """The names of all metrics that a recorder serves."""
    added = LatencyHistogram()
    added.add(1)
    account = Account(counters=Counters(), connections=0, messages=0, messages_dropped=0)
    state = Snapshot(account=account, accepting=True, queued_bytes=0, queue_limit_bytes=1, added=added)
    return set(re.findall(r"^# TYPE (\S+)", MetricsPage().text(state), re.MULTILINE))


def test_alerts_ask_for_metrics_that_exist(metrics: set[str]) -> None:
    """Every rule has an expression over known metrics and a sentence."""
    rules = YAML(typ="safe").load((CHECKOUT / "deploy/alerts.yml").read_text())["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 3
    for rule in rules:
        named = {name.removesuffix("_bucket") for name in re.findall(r"hookreel_\w+", rule["expr"])}
        assert named
        assert named <= metrics
        assert rule["annotations"]["summary"].endswith(".")
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"]


def test_the_runbook_names_metrics_that_exist(metrics: set[str]) -> None:
    """No metric of the page is missing in the recorder, none of the recorder's is missing in the page."""
    page = (CHECKOUT / "docs/running.md").read_text()
    named = set(re.findall(r"`(hookreel_\w+|process_\w+)`", page))
    named |= {f"hookreel_exchanges{suffix}" for suffix in re.findall(r"`(_\w+_total)`", page)}
    assert named <= metrics
    assert metrics - named <= {"hookreel_connections_total", "process_start_time_seconds"}
