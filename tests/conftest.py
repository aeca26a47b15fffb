"""Deselects tests whose tool is absent, and lists them; with HOOKREEL_REQUIRE_ALL they fail the run."""

from __future__ import annotations

import os
import shutil
import signal
from typing import Any

import pytest
from hypothesis import settings

# A busy machine must not fail a property for being slow; speed is measured in benchmarks/.
settings.register_profile("hookreel", deadline=None)
settings.load_profile("hookreel")

# A suite started by nohup or with & ignores these, and every child that a test ends by them would too.
for _ignored, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    signal.signal(_ignored, _usual)

TOOL_OF_MARKER = {"nginx": "nginx", "tshark": "tshark", "npm": "npm", "chromium": "chromium", "go": "go"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot run here."""
    absent = {
        marker for marker, tool in TOOL_OF_MARKER.items() if shutil.which(tool, path=_search_path()) is None
    }
    left_out = [item for item in items if any(item.get_closest_marker(marker) for marker in absent)]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
        config.stash[LEFT_OUT] = [item.nodeid for item in left_out]


LEFT_OUT = pytest.StashKey[list[str]]()


def _search_path() -> str:
    return os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"


def pytest_testnodedown(node: Any, error: object) -> None:
    """Of several processes each collects all tests; what the last one left out goes for all."""
    left_out = getattr(node, "workeroutput", {}).get("left_out", [])
    if left_out:
        node.config.stash[LEFT_OUT] = left_out


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name every test that was left out."""
    left_out = config.stash.get(LEFT_OUT, [])
    if left_out:
        terminalreporter.section("left out: their tool is not on this machine")
        for name in left_out:
            terminalreporter.line(name)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """On a machine that must run everything, a test left out is a failure."""
    left_out = session.config.stash.get(LEFT_OUT, [])
    if hasattr(session.config, "workeroutput"):  # one of several processes
        session.config.workeroutput["left_out"] = left_out
    elif os.environ.get("HOOKREEL_REQUIRE_ALL") and left_out:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
