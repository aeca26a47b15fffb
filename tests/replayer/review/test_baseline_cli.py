"""The command ``hookreel baseline``."""

from __future__ import annotations

import html
import json
import re
import shlex
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from captures.errors import UsageError
from replayer.results import Outcome, write_run
from replayer.review.baseline_cli import baseline


@pytest.fixture(scope="module")
def runs(campaign, tmp_path_factory):
    """Files of five runs of one build, three of the same, and three of a slower one."""
    folder = tmp_path_factory.mktemp("runs")
    quiet = campaign.world(8, requests=100)
    slow = replace(quiet, factor={list(quiet.medians_ms)[4]: 1.8})

    def write(name, world, count, seed):
        paths = []
        for at, named in enumerate(campaign.side(world, count, seed, started_s=seed * 10_000)):
            paths.append(str(folder / f"{name}{at}.run"))
            write_run(folder / f"{name}{at}.run", named.run)
        return paths

    return {
        "old": write("old", quiet, 5, 1),
        "same": write("same", quiet, 3, 2),
        "slow": write("slow", slow, 3, 3),
    }


@pytest.fixture
def run(tmp_path):
    """Run the command on a store of this test."""

    def go(*words, **environment):
        arguments = [*words, "--store", str(tmp_path / "store")]
        return CliRunner().invoke(
            baseline, arguments, env={"GITHUB_SHA": "", "CI_COMMIT_SHA": "", **environment}
        )

    return go


def test_what_was_saved_is_listed_and_shown(run, runs):
    """Name, commit, runs, host class and response times, for people and for programs."""
    assert run("list").stdout.endswith("holds no baseline.\n")
    saved = run("save", "main-1", *runs["old"], GITHUB_SHA="4f2a1c0000000000")
    assert saved.exit_code == 0
    assert saved.stderr == ""
    assert "main-1  4f2a1c000000" in run("list").stdout
    listed = json.loads(run("list", "--json").stdout)
    assert [(one["name"], one["commit"], len(one["runs"])) for one in listed] == [
        ("main-1", "4f2a1c0000000000", 5)
    ]
    shown = run("show", "main-1").stdout
    assert "Python 3." in shown
    assert "main-1/05.run" in shown
    assert "GET /api/e04/{id}" in shown
    endpoints = json.loads(run("show", "main-1", "--json").stdout)["endpoints"]
    assert all(len(times) == 5 for times in endpoints.values())


def test_a_quantile_of_too_few_answers_is_not_shown(run, campaign, tmp_path):
    """Ten must lie beyond it: 50 requests have a p50 and no p99, and those without an answer have neither."""
    world = campaign.World(medians_ms={"GET /few": 5.0, "GET /many": 6.0}, requests=25)
    made = campaign.simulate(world, 1)
    endpoint = made.rows.endpoint.copy()
    endpoint[np.flatnonzero(endpoint == 0)[19:]] = 1  # 19 of one, 31 of the other
    some = replace(made, rows=replace(made.rows, endpoint=endpoint))
    unanswered = campaign.simulate(world, 2)
    outcome = np.full(50, Outcome.TIMEOUT, np.uint8)
    none = replace(unanswered, rows=replace(unanswered.rows, outcome=outcome))
    for name, one in (("some", some), ("none", none)):
        write_run(tmp_path / f"{name}.run", one)
        run("save", name, str(tmp_path / f"{name}.run"))
    shown = [line.split() for line in run("show", "some").stdout.splitlines()]
    assert [line[-1] for line in shown if line[:1] == ["some/01.run"]] == ["-"]
    assert [line[-2:] for line in shown if line[:2] == ["GET", "/few"]] == [["-", "-"]]
    assert [line[-1] for line in shown if line[:2] == ["GET", "/many"]] == ["ms"]
    assert json.loads(run("show", "some", "--json").stdout)["endpoints"]["GET /few"] == []
    shown = [line.split() for line in run("show", "none").stdout.splitlines()]
    assert [line[-4:] for line in shown if line[:1] == ["none/01.run"]] == [["50", "50", "-", "-"]]


def test_few_runs_are_saved_with_a_note(run, runs):
    """They may be all there are."""
    result = run("save", "few", *runs["old"][:2])
    assert result.exit_code == 0
    assert "5 runs or more" in result.stderr


def test_a_slower_build_is_found_against_the_baseline(run, runs):
    """Exit code 3, the endpoint named, and the reader told what this cannot show."""
    run("save", "main", *runs["old"])
    result = run("check", "main", *runs["slow"])
    assert result.exit_code == 3
    assert "SLOWER: GET /api/e04/{id}" in result.stdout
    assert "made at another time" in " ".join(result.stdout.split())
    same = run("check", "main", *runs["same"], "--json")
    assert same.exit_code == 0
    assert json.loads(same.stdout)["verdict"] in {"SAME", "INCONCLUSIVE"}


def test_endpoints_may_be_put_together(run, runs, tmp_path):
    """Those of the saved runs and those of the ones that are checked, by one file."""
    file = tmp_path / "endpoints.toml"
    file.write_text('endpoints = ["GET /api/{kind}/{id}"]')
    run("save", "main", *runs["old"])
    told = run("check", "main", *runs["same"], "--endpoints", str(file), "--json")
    assert [one["endpoint"] for one in json.loads(told.stdout)["endpoints"]] == ["GET /api/{kind}/{id}"]


def test_objectives_and_strictness_are_those_of_diff(run, runs):
    """One way to judge for all commands."""
    run("save", "main", *runs["old"])
    assert run("check", "main", *runs["same"], "--slo", "p50<1ms").exit_code == 3
    strict = run("check", "main", *runs["same"], "--strict", "--json")
    assert strict.exit_code == (0 if json.loads(strict.stdout)["verdict"] == "SAME" else 5)


def test_another_capture_is_refused_unless_allowed(run, runs, campaign, tmp_path):
    """The option that permits it is named, and its use is warned of."""
    run("save", "main", *runs["old"])
    other = []
    for seed in range(3):
        path = tmp_path / f"other{seed}.run"
        world = campaign.world(8, requests=100)
        write_run(path, campaign.simulate(world, 90 + seed, schedule="other", started_s=90_000 + seed))
        other.append(str(path))
    refused = run("check", "main", *other)
    assert isinstance(refused.exception, UsageError)
    assert "--allow capture" in str(refused.exception)
    page = run("check", "main", *other, "--allow", "capture", "--margin", "3%", "--format", "html").stdout
    command = html.unescape(re.search(r"<pre><code>(.*?)</code></pre>", page)[1])
    assert "--allow=capture --margin 3%" in command
    assert run(*shlex.split(command)[2:]).stdout == page
    allowed = run("check", "main", *other, "--allow", "capture")
    assert allowed.exit_code == 0
    assert "capture allowed" in " ".join(allowed.stdout.split())
    assert "Unlike runs" not in allowed.stdout  # it is said once
