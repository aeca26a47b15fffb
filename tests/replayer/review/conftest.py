"""Simulated runs from the generator that the campaign in benchmarks/ uses, and a browser for pages."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

_SOURCE = Path(__file__).parents[3] / "benchmarks" / "review_campaign.py"


@pytest.fixture(scope="session")
def campaign():
    """The campaign's module: ``World``, ``world``, ``simulate``, ``make_run``, ``side``, ``review``."""
    spec = importlib.util.spec_from_file_location("review_campaign", _SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def endpoint_of():
    """Find an endpoint's result in a comparison by the start of its label."""

    def find(comparison, label):
        return next(e for e in comparison.endpoints if e.endpoint.startswith(label))

    return find


_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--remote-debugging-port=0",
)  # fmt: skip
_PATIENCE_S = 60


class Chromium:
    """
    One headless browser with one tab, asked over its own protocol on the loopback.

    What its console and its security policy complain about is in ``said``.
    """

    def __init__(self, profile: Path) -> None:
        self.said: list[str] = []
        self._profile = profile
        self._loop = asyncio.new_event_loop()
        self._numbers = 0
        self._process = subprocess.Popen(
            ["chromium", *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._loop.run_until_complete(self._connect())

    async def _connect(self) -> None:
        told = self._profile / "DevToolsActivePort"
        until = time.monotonic() + _PATIENCE_S
        while not told.exists() or "\n" not in told.read_text():
            assert self._process.poll() is None, "chromium ended"
            assert time.monotonic() < until, "chromium does not say its port"
            await asyncio.sleep(0.02)
        port = told.read_text().split()[0]
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json") as answer:
            tabs = await answer.json(content_type=None)
        tab = next(one for one in tabs if one["type"] == "page")
        self._socket = await self._session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)
        for domain in ("Page", "Runtime", "Log"):
            await self._call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol and its result."""
        return self._loop.run_until_complete(self._call(method, **params))

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._numbers += 1
        number = self._numbers
        await self._socket.send_str(json.dumps({"id": number, "method": method, "params": params}))
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                message = json.loads((await self._socket.receive()).data)
                if message.get("id") == number:
                    assert "error" not in message, message
                    return message["result"]
                self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Log.entryAdded":
            self.said.append(params["entry"]["text"])
        elif message.get("method") in {"Runtime.exceptionThrown", "Runtime.consoleAPICalled"}:
            self.said.append(json.dumps(params))
        elif message.get("method") == "Page.javascriptDialogOpening":
            self.said.append(f"dialog: {params['message']}")

    def open(self, path: Path, *, width: int = 1300, height: int = 900, dark: bool = False) -> None:
        """Show a file once it is loaded whole."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.media(dark=dark)
        self.call("Page.navigate", url=path.as_uri())
        loaded = "document.readyState === 'complete' ? done() : addEventListener('load', done)"
        drawn = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
        self.ask(f"new Promise(done => {loaded}).then(() => {drawn})")

    def media(self, *, dark: bool = False, kind: str = "") -> None:
        """Set the colour scheme, or ``kind`` "print"."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=kind, features=[scheme])

    def ask(self, expression: str) -> Any:
        """What a JavaScript expression comes to in the page."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """End the browser."""
        self._loop.run_until_complete(self._socket.close())
        self._loop.run_until_complete(self._session.close())
        self._loop.close()
        self._process.terminate()
        self._process.wait(_PATIENCE_S)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A browser for all tests of a session."""
    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()
