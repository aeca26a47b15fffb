from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

import pytest
from mitmproxy.addonmanager import AddonManager
from mitmproxy.exceptions import AddonHalt
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.proxy.layers.http import HttpRequestHook
from mitmproxy.test import tflow

from recorder.dispatch import HookTable, call, note_added
from recorder.latency import LatencyHistogram
from recorder.versions import version_is_tested
from tests.recorder.support import RawClient, RawServer, Recorder, read_capture


class Plain:
    """Notes what it was called with."""

    def __init__(self) -> None:
        self.flows: list[object] = []

    def request(self, flow: object) -> None:
        self.flows.append(flow)


class Other(Plain):
    pass


class Async:
    async def request(self, flow: object) -> None:
        await asyncio.sleep(0)

    def response(self, flow: object) -> None:
        pass


class Nest:
    def __init__(self, *addons: object) -> None:
        self.addons = list(addons)


@pytest.fixture
def manager() -> Iterator[AddonManager]:
    async def make() -> Master:
        return Master(Options())

    with asyncio.Runner() as runner:
        master = runner.run(make())
        yield master.addons
        master._legacy_log_events.uninstall()


@pytest.mark.parametrize(
    ("text", "tested"),
    [
        ("11.0.2", True),
        ("12.2.3", True),
        ("12.99.0.dev", True),
        ("13.0.0", False),
        ("10.4.2", False),
        ("next", False),
    ],
)
def test_overrides_are_for_versions_they_were_tested_with(text: str, tested: bool):
    """Anything older, newer or unreadable gets the stock handler."""
    assert version_is_tested(text) is tested


def test_a_hook_calls_the_functions_of_all_addons_in_order(manager: AddonManager):
    """Nested addons count too, one without the hook does not, and one that comes later is found."""
    first, second = Plain(), Other()
    manager.add(first, Nest(second))
    table = HookTable(manager)
    assert table.of("request") == (first.request, second.request)
    assert table.of("response") == ()
    manager.remove(first)
    assert table.of("request") == (second.request,)


def test_a_hook_with_an_async_function_is_left_to_mitmproxy(manager: AddonManager):
    """Only plain functions can be called on the spot."""
    manager.add(Plain(), Async())
    table = HookTable(manager)
    assert table.of("request") is None
    assert table.of("response") is not None


def test_an_error_in_an_addon_stops_neither_the_others_nor_the_caller(caplog: pytest.LogCaptureFixture):
    """It is logged as mitmproxy would; AddonHalt ends the walk, as in mitmproxy."""
    last = Plain()
    flow = tflow.tflow()

    def broken(_flow: object) -> None:
        raise ValueError("broken")

    def halting(_flow: object) -> None:
        raise AddonHalt

    with caplog.at_level(logging.ERROR):
        call((broken, last.request, halting, last.request), HttpRequestHook(flow))
    assert last.flows == [flow]
    assert len(caplog.records) == 1


def test_on_an_unknown_mitmproxy_its_own_handler_records_too(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """Nothing of its inside is replaced, which is told; exchanges are recorded as before."""
    recorder = start_recorder(
        start_server().port, prelude="import mitmproxy.version\nmitmproxy.version.VERSION = '99.0.0'\n"
    )
    large = b"x" * 400_000
    with RawClient(recorder.port) as client:
        assert client.call(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").body == b"ok"
        head = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 400000\r\n\r\n"
        assert client.call(head + large).status == 200
    assert recorder.stop() == 0
    (line,) = recorder.stderr.splitlines()
    assert "not one that hookreel was tested with" in line
    assert recorder.account["added_ns"] == {"exchanges": 0, "p50": 0, "p99": 0, "max": 0}
    assert [item.request.body for item in read_capture(recorder.output).exchanges] == [b"", large]


def test_an_exchange_adds_the_time_of_its_request_and_of_its_response():
    """Two stretches of work are one value per exchange; both in one event are one stretch."""
    added = LatencyHistogram()
    flow, local = tflow.tflow(), tflow.tflow()
    note_added(added, [("request", flow)], 30)
    assert added.count == 0
    note_added(added, [("response", flow)], 12)
    assert (added.count, added.quantile_ns(1.0)) == (1, 42)
    note_added(added, [("request", local), ("response", local)], 7)
    assert (added.count, added.quantile_ns(0.1)) == (2, 7)
