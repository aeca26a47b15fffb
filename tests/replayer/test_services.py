"""Captures of several services: each exchange goes to its own target, and the run says which."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from captures.model import Exchange
from replayer.results import Outcome, read_run
from replayer.review.sides import split_by_endpoint

Make = Callable[..., Exchange]
LENIENT = ("--lag-p99", "10s", "--lag-max", "10s", "--rate-error", "100%")  # tests run on busy machines


@pytest.fixture
def shop(exchange: Make, capture: Callable[..., Path]) -> Path:
    """Two clients of an API and of a service for hooks, on two connections, one after another."""
    hosts = (b"API.test:8443", b"hooks.test")
    return capture(
        [exchange(number, authority=hosts[number % 2], connection=number // 6) for number in range(12)]
    )


def test_each_exchange_goes_to_the_target_of_its_host(
    command: Callable[..., Any], serve: Callable[..., Any], shop: Path, tmp_path: Path
) -> None:
    """A host without a port means every port; one client connection becomes one to each target."""
    api, hooks = serve(), serve()
    output = tmp_path / "a.run"
    told = command(
        shop, "--target", f"api.test={api.url}", "--target", f"hooks.test={hooks.url}", *LENIENT, "-o", output
    )
    assert told.exit_code == 0, told.stderr
    for server in (api, hooks):
        authority = f"127.0.0.1:{server.port}".encode()
        assert [dict(one.request.headers)[b"Host"] for one in server.seen] == [authority] * 6
    run = read_run(output)
    assert run.rows.outcome.tolist() == [Outcome.COMPLETED] * 12
    assert run.header.endpoints == ("GET api.test/", "GET hooks.test/")
    assert run.header.services == ("api.test", "hooks.test")
    assert run.rows.endpoint.tolist() == [0, 1] * 6
    assert run.rows.connection.tolist() == [0, 1] * 3 + [2, 3] * 3
    assert {label: one.requests for label, one in split_by_endpoint(run).items()} == {
        "GET api.test/": 6,
        "GET hooks.test/": 6,
    }
    assert run.header.target == f"api.test={api.url}, hooks.test={hooks.url}"
    assert not any("different hosts" in note for note in run.header.notes)


@pytest.mark.parametrize("more", [("--workers", "2"), ("--connections", "new"), ("--connections", "pool")])
def test_services_stay_apart_however_it_is_sent(
    command: Callable[..., Any], serve: Callable[..., Any], shop: Path, more: tuple[str, ...]
) -> None:
    """Workers, a connection for each exchange and shared ones keep to the targets."""
    api, hooks = serve(), serve()
    told = command(
        shop, "--target", f"api.test={api.url}", "--target", f"hooks.test={hooks.url}", *LENIENT, *more
    )
    assert told.exit_code == 0, told.stderr
    assert (len(api.seen), len(hooks.seen)) == (6, 6)


def test_what_no_target_names_is_refused_before_anything_is_sent(
    command: Callable[..., Any], serve: Callable[..., Any], shop: Path
) -> None:
    """The hosts are listed; leaving their exchanges out is enough."""
    api = serve()
    told = command(shop, "--target", f"API.test:8443={api.url}")
    assert told.exit_code == 2
    assert "No --target names hooks.test, which 6 exchanges were recorded for" in told.stderr
    assert api.connections == 0
    told = command(shop, "--target", f"API.test:8443={api.url}", "--match", "host=api.test", *LENIENT)
    assert told.exit_code == 0
    assert len(api.seen) == 6
    other_port = command(shop, "--target", f"api.test:1={api.url}", "--match", "host=api.test")
    assert other_port.exit_code == 2


def test_a_dry_run_lists_what_would_go_where(
    command: Callable[..., Any], serve: Callable[..., Any], shop: Path
) -> None:
    """Targets with their hosts and counts, and a note on a host that nothing was recorded for."""
    server = serve()
    targets = [f"{host}={server.url}" for host in ("api.test", "hooks.test", "tpyo.test")]
    options = [word for text in targets for word in ("--target", text)]
    told = command(shop, *options, "--dry-run", "--json").json
    assert [(one["host"], one["exchanges"]) for one in told["targets"]] == [
        ("api.test", 6),
        ("hooks.test", 6),
        ("tpyo.test", 0),
    ]
    assert told["endpoints"] == {"GET api.test/": 6, "GET hooks.test/": 6}
    assert any("recorded for tpyo.test" in note for note in told["notes"])
    text = command(shop, *options, "--dry-run").stdout
    assert f"to {server.url} (127.0.0.1) for api.test (6 exchanges), to {server.url}" in text
    assert server.connections == 0


def test_a_service_that_is_down_fails_the_start(
    command: Callable[..., Any], serve: Callable[..., Any], shop: Path
) -> None:
    """Half of the services are no replay; one that nothing goes to is not asked."""
    api, hooks = serve(), serve()
    hooks.close()
    options = ("--target", f"api.test={api.url}", "--target", f"hooks.test={hooks.url}")
    told = command(shop, *options)
    assert told.exit_code == 1
    assert f"{hooks.url} cannot be reached" in told.stderr
    assert not api.seen
    assert command(shop, *options, "--match", "host=api.test", *LENIENT).exit_code == 0
