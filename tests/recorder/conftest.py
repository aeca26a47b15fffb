from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]
if str(CHECKOUT) not in sys.path:
    sys.path.insert(0, str(CHECKOUT))  # plain `pytest` leaves it out

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # mitmproxy's, from pyparsing
    import mitmproxy.addons  # noqa: F401 - so that no later import of it warns

from tests.recorder.support import RawServer, Recorder  # noqa: E402 - needs the path above


@pytest.fixture(scope="session")
def confdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One CA for all tests, since making a key takes time."""
    return tmp_path_factory.mktemp("authority")


@pytest.fixture(scope="session")
def start_recorder(
    confdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Recorder]]:
    """Starts recorders and sees that none outlives the tests."""
    started: list[Recorder] = []

    def start(upstream: int | str, *options: str, **more: Any) -> Recorder:
        mode = upstream if isinstance(upstream, str) else f"reverse:http://127.0.0.1:{upstream}"
        output = tmp_path_factory.mktemp("recording") / "traffic.reel"
        started.append(Recorder(output, confdir, ["--mode", mode, *options], **more))
        return started[-1]

    yield start
    for recorder in started:
        recorder.end()


@pytest.fixture(scope="session")
def start_server() -> Iterator[Callable[..., RawServer]]:
    """Starts raw servers."""
    started: list[RawServer] = []

    def start(**answers: object) -> RawServer:
        started.append(RawServer(**answers))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def webhooks() -> list[tuple[str, bytes]]:
    """Real GitHub webhooks: event name and compact JSON body; made ones where the data set is not at hand."""
    path = Path(os.environ.get("HOOKREEL_WEBHOOKS", CHECKOUT.parent / "shared/data/github_webhooks.jsonl"))
    if not path.is_file():
        return [("push", json.dumps({"n": n, "é": "ü" * n}).encode()) for n in range(329)]
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        (row["event"], json.dumps(row["payload"], separators=(",", ":"), ensure_ascii=False).encode())
        for row in rows
    ]
