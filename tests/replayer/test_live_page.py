"""The live page: its files, its promises to a browser, and what it is told second by second."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import aiohttp
import pytest

from captures.errors import UsageError
from captures.units import NS_PER_S
from replayer.live import address, listening
from replayer.live_meter import Pulse, Reading
from replayer.live_page import PageView
from replayer.stages import parse_stages

Visit = Callable[[aiohttp.ClientSession, PageView, str], Awaitable[None]]


def pulse(second: int) -> Pulse:
    return Pulse(
        second=second, due=10, sent=10, done=9, errors=0, waiting=1, lag_p50_ns=1.0, lag_p99_ns=2.0,
        lag_max_ns=3.0, response_p50_ns=None, response_p99_ns=None,
    )  # fmt: skip


def reading(now_ns: int) -> Reading:
    return Reading(
        now_ns=now_ns, duration_ns=60 * NS_PER_S, total=600, due=10, sent=10, done=9, errors=0, dropped=0,
        pulse=None, lag_p50_ns=1.0, lag_p99_ns=2.0, lag_max_ns=3.0, response_p50_ns=None,
        response_p99_ns=None, stages=(),
    )  # fmt: skip


def visit(what: Visit) -> None:
    """Have a page served and visited."""

    async def go() -> None:
        page = listening("0")
        view = PageView(page, "to <b>it</b>", parse_stages("1x:1s,2x:1s"))
        await view.open()
        async with aiohttp.ClientSession() as session:
            await what(session, view, address(page))
        await view.close()

    asyncio.run(go())


async def next_event(response: aiohttp.ClientResponse) -> tuple[str, Any]:
    name = (await response.content.readline()).decode().removeprefix("event: ").strip()
    data = (await response.content.readline()).decode().removeprefix("data: ")
    assert await response.content.readline() == b"\n"
    return name, json.loads(data)


def test_the_page_is_whole_and_asks_nobody_else() -> None:
    """Everything it names is served here; a strict policy keeps it from anything else."""

    async def look(session: aiohttp.ClientSession, _view: PageView, url: str) -> None:
        async with session.get(url) as response:
            text = await response.text()
            assert response.content_type == "text/html"
            policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in text
        assert not re.search(r"\son\w+=|style=", text)
        named = re.findall(r"(?:href|src)=\"([^\"]+)\"", text)
        assert len(named) == 4
        for name in named:
            async with session.get(url + name) as response:
                assert response.status == 200
                assert response.headers["Content-Security-Policy"] == policy
                assert await response.read()
        async with session.get(url + "absent") as response:
            assert response.status == 404
        async with session.get(url + "../live.py") as response:
            assert response.status == 404
        async with session.post(url) as response:
            assert response.status == 405

    visit(look)


def test_the_page_answers_to_this_machines_names_alone() -> None:
    """A site that points its own name here learns nothing."""

    async def look(session: aiohttp.ClientSession, _view: PageView, url: str) -> None:
        for path in ("", "events"):
            async with session.get(url + path, headers={"Host": "evil.test"}) as response:
                assert response.status == 403
        port = url.rsplit(":", 1)[1].strip("/")
        async with session.get(url, headers={"Host": f"localhost:{port}"}) as response:
            assert response.status == 200

    visit(look)


def test_a_browser_is_told_every_second_once_and_the_end() -> None:
    """Whoever comes late gets what was before; the end closes the stream."""

    async def look(session: aiohttp.ClientSession, view: PageView, url: str) -> None:
        async with session.get(url + "events") as early:
            name, said = await next_event(early)
            assert (name, said["title"]) == ("title", "to <b>it</b>")
            assert [stage["start_ns"] for stage in said["stages"]] == [0, NS_PER_S]
            view.show(reading(NS_PER_S), [pulse(0)])
            assert [one["second"] for one in (await next_event(early))[1]["pulses"]] == [0]
            async with session.get(url + "events") as late:
                assert (await next_event(late))[0] == "title"
                view.show(reading(3 * NS_PER_S), [pulse(1), pulse(2)])
                seen = [await next_event(late), await next_event(late)]
                assert [[one["second"] for one in said["pulses"]] for _, said in seen] == [[0], [1, 2]]
                name, said = await next_event(early)
                assert (name, said["reading"]["now_ns"]) == ("reading", 3 * NS_PER_S)
                assert said["pulses"][0]["response_p50_ns"] is None
                await view.close()
                assert await next_event(late) == ("end", None)
                assert await next_event(early) == ("end", None)
                assert await late.content.read() == b""

    visit(look)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("0.0.0.0:8090", "for this machine alone"), ("192.168.0.4:0", "for this machine alone"),
        ("[::]:8090", "for this machine alone"), ("example.com:80", "for this machine alone"),
        ("", "no port"), ("eighty", "no port"), ("65536", "no port"), ("127.0.0.1:", "no port"),
        ("-1", "no port"),
    ],
)  # fmt: skip
def test_a_page_is_for_this_machine_alone(place: str, told: str) -> None:
    """Any other address is refused in a sentence."""
    with pytest.raises(UsageError, match=told):
        listening(place)


def test_a_port_that_is_taken_is_told() -> None:
    """With what to do."""
    with listening("127.0.0.1:0") as page:
        port = page.getsockname()[1]
        with pytest.raises(UsageError, match=rf"Port {port} is not free .*; give another\."):
            listening(str(port))


def test_the_charts_library_has_its_licence_beside_it() -> None:
    """It is not ours."""
    folder = files("replayer") / "assets" / "uplot"
    assert "MIT" in (folder / "LICENSE").read_text()
