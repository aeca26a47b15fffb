"""Builders for the tests of importers and exporters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from captures.model import Exchange, Message
from captures.reader import CaptureReader
from recorder.importers.intake import Imported, import_files


class Result:
    """An imported capture, read whole."""

    def __init__(self, path: Path, imported: list[Imported]) -> None:
        self.path = path
        self.imported = imported
        with CaptureReader.open(path) as reader:
            self.header = reader.header
            self.complete = reader.complete
            self.counters = reader.counters
            self.exchanges: list[Exchange] = list(reader.exchanges())
            self.messages: list[Message] = list(reader.messages())

    @property
    def remarks(self) -> dict[str, int]:
        return self.imported[0].remarks


@pytest.fixture
def take(tmp_path: Path) -> Callable[..., Result]:
    """Imports files, or the bytes or JSON of one, and reads the capture."""
    count = 0

    def run(*sources: Any) -> Result:
        nonlocal count
        count += 1
        paths = []
        for number, source in enumerate(sources):
            path = source
            if not isinstance(source, Path):
                path = tmp_path / f"source-{count}-{number}"
                path.write_bytes(source if isinstance(source, bytes) else json.dumps(source).encode())
            paths.append(path)
        out = tmp_path / f"out-{count}.reel"
        return Result(out, import_files(paths, out))

    return run
