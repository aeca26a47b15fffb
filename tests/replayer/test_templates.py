"""Templates that a user wrote put endpoints together and take them apart, in captures and in runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captures.errors import UsageError
from captures.model import Exchange
from captures.reader import CaptureReader
from replayer.results import Limits, Outcome, Run, RunHeader, RunRows, read_run
from replayer.templates import Templates, read_templates, use_templates, with_templates

Make = Callable[..., Exchange]
LENIENT = ("--lag-p99", "10s", "--lag-max", "10s", "--rate-error", "100%")  # tests run on busy machines
SHOP = """
endpoints = [
    "GET /shop/{slug}", "POST /rpc?method=pay&v=2", "* /static/**", "GET /runs/7", "GET /runs/{run}",
]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "endpoints.toml"
    path.write_text(SHOP)
    return path


@pytest.fixture
def templates(file: Path) -> Templates:
    return read_templates(file)


@pytest.mark.parametrize(
    ("method", "target", "label"),
    [
        (b"GET", b"/shop/shoes", "GET /shop/{slug}"),
        (b"GET", b"/shop/shoes?size=7#top", "GET /shop/{slug}"),
        (b"POST", b"/shop/shoes", None),
        (b"GET", b"/shop/", None),
        (b"GET", b"/shop/shoes/red", None),
        (b"POST", b"/rpc?v=2&id=9&method=pay", "POST /rpc?method=pay&v=2"),
        (b"POST", b"/rpc?method=pay", None),
        (b"DELETE", b"/static/a/b.css", "* /static/**"),
        (b"GET", b"/static", None),
        (b"GET", b"/runs/7", "GET /runs/7"),
        (b"GET", b"/runs/8", "GET /runs/{run}"),
        (b"GET", b"/shop/\xff%0a", "GET /shop/{slug}"),
    ],
)
def test_the_first_template_that_matches_is_the_label(
    templates: Templates, method: bytes, target: bytes, label: str | None
) -> None:
    """Segments, the rest of a path, any method, and parts of a query in any order."""
    assert templates.of_request(method, target) == label


def test_a_learned_id_may_have_been_any_value(templates: Templates) -> None:
    """It belongs to a named segment, never to one that says a value."""
    assert templates.of_label("GET /runs/{id}") == "GET /runs/{run}"
    assert templates.of_label("GET /shop/hats") == "GET /shop/{slug}"
    assert templates.of_label("POST /rpc") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no list of endpoints"), ("endpoints = 1", "no list"), ("endpoints = []", "no list"),
        ('endpoints = ["GET /"]\nother = 1', "no list"), ("endpoints = [1]", "no template"),
        ('endpoints = ["/shop"]', "no template"), ('endpoints = ["GET shop"]', "no template"),
        ('endpoints = ["GET /a/**/b"]', "before its end"), ("endpoints = [", "no TOML"),
        (f'endpoints = ["GET /{"x" * 600}"]', "no template"),
    ],
)  # fmt: skip
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """In one sentence, with an example."""
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_templates(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_templates(tmp_path / "absent.toml")


def test_a_capture_tells_the_users_endpoints(
    templates: Templates, exchange: Make, capture: Callable[..., Path]
) -> None:
    """Split and merged; what no template matches keeps what was learned."""
    targets = (b"/shop/shoes", b"/shop/hats", b"/runs/7", b"/runs/8", b"/other/5")
    path = capture([exchange(number, target=target) for number, target in enumerate(targets)])
    with CaptureReader.open(path) as reader:
        offsets = reader.index.offset_ns.tolist()
        use_templates(reader, templates)
        labels = [reader.endpoint_labels[number] for number in reader.index.endpoint.tolist()]
        assert labels == [
            "GET /shop/{slug}",
            "GET /shop/{slug}",
            "GET /runs/7",
            "GET /runs/{run}",
            "GET /other/{id}",
        ]
        assert reader.index.offset_ns.tolist() == offsets
        assert len(list(reader.exchanges())) == 5


def test_a_replay_and_its_rehearsal_use_them(
    command: Any, serve: Any, exchange: Make, capture: Callable[..., Path], file: Path, tmp_path: Path
) -> None:
    """The run that is written has the endpoints of the file."""
    path = capture([exchange(number, target=b"/shop/%c" % (97 + number)) for number in range(4)])
    rehearsed = command(path, "--target", serve().url, "--endpoints", file, "--dry-run", "--json").json
    assert rehearsed["endpoints"] == {"GET /shop/{slug}": 4}
    output = tmp_path / "a.run"
    told = command(path, "--target", serve().url, "--endpoints", file, "-o", output, *LENIENT)
    assert told.exit_code == 0, told.stderr
    assert read_run(output).header.endpoints == ("GET /shop/{slug}",)


def _run(labels: tuple[str, ...], services: tuple[str, ...] = ()) -> Run:
    count = len(labels)
    zeros = np.zeros(count, np.int64)
    small = zeros.astype(np.uint32)
    return Run(
        header=RunHeader(
            run_id="ab" * 16, capture_id="cd" * 16, target="http://127.0.0.1:1", speed="1x", load="all",
            started_wall_ns=9, tool="t", schedule_hash="h", limits=Limits(),
            endpoints=labels, services=services,
        ),
        rows=RunRows(
            seq=zeros, endpoint=np.arange(count, dtype=np.uint32), connection=small, due_ns=zeros,
            sent_ns=zeros, first_byte_ns=zeros, done_ns=zeros, status=zeros.astype(np.uint16),
            recorded_status=zeros.astype(np.uint16), instance=small, waited_ns=zeros,
            outcome=np.full(count, Outcome.COMPLETED, np.uint8), response_bytes=small,
        ),
    )  # fmt: skip


def test_endpoints_of_a_run_are_put_together(templates: Templates) -> None:
    """Rows count into the new labels; everything else stays."""
    run = _run(("GET /shop/a", "GET /other", "GET /shop/b"))
    merged = with_templates(run, templates)
    assert merged.header == replace(run.header, endpoints=("GET /shop/{slug}", "GET /other"))
    assert merged.rows.endpoint.tolist() == [0, 1, 0]
    assert merged.rows.seq is run.rows.seq


def test_services_stay_apart(templates: Templates) -> None:
    """The same path of two recorded hosts is two endpoints."""
    run = _run(
        ("GET a.test/shop/a", "GET b.test/shop/a", "GET a.test/shop/b"), ("a.test", "b.test", "a.test")
    )
    merged = with_templates(run, templates)
    assert merged.header.endpoints == ("GET a.test/shop/{slug}", "GET b.test/shop/{slug}")
    assert merged.header.services == ("a.test", "b.test")
    assert merged.rows.endpoint.tolist() == [0, 1, 0]
