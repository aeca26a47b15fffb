"""``hookreel diff`` from the outside: arguments, formats, files and exit codes."""

from __future__ import annotations

import html
import json
import re
import shlex
from dataclasses import replace

import click
import pytest
from click.testing import CliRunner

from captures.errors import CaptureError, UsageError
from replayer.results import write_run
from replayer.review.cli import diff, spread
from replayer.review.sides import InvalidRunError


@pytest.fixture(scope="module")
def folder(campaign, tmp_path_factory):
    """Four runs of one build (a to d), two of a slower one (s, t), an invalid one and one at 1x."""
    place = tmp_path_factory.mktemp("runs")
    quiet = campaign.world(4, requests=100)
    slow = replace(quiet, factor={"GET /api/e02/{id}": 6.0})
    for at, name in enumerate("abcdst"):
        run = campaign.simulate(slow if name in "st" else quiet, at + 1, started_s=at * 100)
        write_run(place / f"{name}.run", run)
        if name == "a":
            write_run(
                place / "unlike.run", replace(run, header=replace(run.header, speed="1x", run_id="e" * 32))
            )
            header = replace(run.header, invalid_reasons=("Send lag p99 was 4.00 ms.",), run_id="f" * 32)
            write_run(place / "invalid.run", replace(run, header=header))
    (place / "foreign.run").write_bytes(b"not a run at all, but long enough to look at")
    return place


@pytest.fixture
def run(folder, monkeypatch):
    """Call the command in the runs' folder; errors come out as they were raised."""
    monkeypatch.chdir(folder)

    def call(*args):
        result = CliRunner().invoke(diff, list(args))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.mark.parametrize(
    "args",
    [
        ("--baseline", "a.run", "b.run", "--candidate", "c.run", "d.run"),
        ("--baseline", "a.run", "--baseline", "b.run", "--candidate", "c.run", "--candidate", "d.run"),
        ("--baseline=a.run", "b.run", "--candidate=c.run", "d.run"),
        ("--candidate", "c.run", "d.run", "--margin", "5%", "--baseline", "a.run", "b.run"),
    ],
)
def test_several_runs_a_side_in_every_spelling(run, args):
    """Values after one option and repeated options name the same sides."""
    report = json.loads(run(*args, "--json").stdout)
    assert [each["name"] for each in report["baseline"]] == ["a.run", "b.run"]
    assert [each["name"] for each in report["candidate"]] == ["c.run", "d.run"]


def test_spreading_leaves_everything_else_alone():
    """Only words between a side and the next option are spread; ``--`` ends it."""
    assert spread(["a", "b", "--json"]) == ["a", "b", "--json"]
    assert spread(["--baseline", "--json"]) == ["--baseline", "--json"]
    assert spread(["--baseline", "a", "--", "b"]) == ["--baseline", "a", "--", "b"]
    assert spread(["--candidate"]) == ["--candidate"]


def test_identical_builds_exit_with_0_and_strict_with_5(run):
    """INCONCLUSIVE is no failure unless the caller wants it to be."""
    assert run("a.run", "b.run").exit_code == 0
    strict = run("a.run", "b.run", "--strict")
    assert strict.exit_code == 5
    assert strict.stdout.startswith("INCONCLUSIVE: 4 endpoints: ")


def test_a_slower_endpoint_is_named_in_the_first_line_and_exits_with_3(run):
    """The first line says what, where, how much and how sure."""
    result = run("--baseline", "a.run", "b.run", "--candidate", "s.run")
    assert result.exit_code == 3
    first = result.stdout.splitlines()[0]
    assert first.startswith("SLOWER: GET /api/e02/{id} p50 ")
    assert "95 % CI" in first
    assert "; 3 other endpoints: " in first
    assert "Weaker evidence" in result.stdout


def test_the_other_way_round_is_faster_and_exits_with_0(run):
    """FASTER is good news."""
    result = run("--baseline", "s.run", "t.run", "--candidate", "a.run", "b.run")
    assert result.exit_code == 0
    assert result.stdout.startswith("FASTER: GET /api/e02/{id} ")


@pytest.mark.parametrize("style", ["text", "json", "markdown"])
def test_an_invalid_run_is_refused_with_file_and_reason(run, style):
    """Exit code 4 names the file and why; programs get a report that says INVALID."""
    with pytest.raises(InvalidRunError, match=r"invalid\.run proves nothing: Send lag") as caught:
        run("a.run", "invalid.run", "--format", style)
    assert caught.value.exit_code == 4


def test_the_json_of_an_invalid_run_says_so(folder, monkeypatch):
    """JSON is printed on exit 4 too."""
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(diff, ["a.run", "invalid.run", "--json"])
    report = json.loads(result.stdout)
    assert report["verdict"] == "INVALID"
    assert "invalid.run" in report["reasons"][0]
    assert report["endpoints"] == []


def test_foreign_and_absent_files_are_refused(run):
    """What is not a run is a CaptureError, what is not there a UsageError."""
    with pytest.raises(CaptureError):
        run("a.run", "foreign.run")
    with pytest.raises(UsageError, match="absent"):
        run("a.run", "absent.run")


def test_unlike_runs_need_allow_mismatch(run):
    """Another speed is wrong usage unless the caller insists."""
    with pytest.raises(UsageError, match="at 1x"):
        run("a.run", "unlike.run")
    assert "Unlike runs" in run("b.run", "unlike.run", "--allow-mismatch").stdout


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "Name a baseline"),
        (("a.run",), "takes two runs, not 1"),
        (("a.run", "b.run", "c.run"), "takes two runs, not 3"),
        (("--baseline", "a.run"), "Name a baseline"),
        (("a.run", "b.run", "--candidate", "c.run"), "not both"),
        (("a.run", "b.run", "-o", "c.run"), "exists already"),
    ],
)
def test_wrong_usage_says_what_to_write(run, args, words):
    """Sides that cannot be told apart and files that stand are usage errors."""
    with pytest.raises(UsageError, match=words):
        run(*args)


@pytest.mark.parametrize("margin", ["0%", "-5%", "five", "101%", "nan"])
def test_a_margin_is_a_share(run, margin):
    """Anything but a share above 0 and at most 100 % is wrong usage."""
    with pytest.raises(UsageError, match=r"5% or 0\.05"):
        run("a.run", "b.run", "--margin", margin)


def test_margins_may_be_percent_or_fraction(run):
    """10% and 0.1 are the same margin."""
    for margin in ("10%", "0.1"):
        assert json.loads(run("a.run", "b.run", "--json", "--margin", margin).stdout)["margin"] == 0.1


def test_the_report_can_go_to_a_file(run, tmp_path):
    """With -o the file holds the report and the terminal its first line."""
    path = tmp_path / "report.md"
    result = run("a.run", "s.run", "--format", "markdown", "-o", str(path))
    assert path.read_text().startswith("<!-- hookreel diff -->")
    assert len(result.stdout.splitlines()) == 1


def test_help_ends_with_an_example_and_explains_every_option():
    """A reader finds each option's meaning and a line to copy."""
    text = CliRunner().invoke(diff, ["--help"]).stdout
    assert "hookreel diff --baseline a.run b.run --candidate c.run d.run" in text
    assert all(param.help for param in diff.params if isinstance(param, click.Option))


def test_the_schema_is_printed_without_runs(run):
    """A program that reads the JSON asks for its schema alone."""
    schema = json.loads(run("--schema").stdout)
    assert schema["properties"]["verdict"]["enum"][-1] == "INVALID"


def test_annotations_go_to_standard_error(run, tmp_path):
    """The report stays whole on standard output."""
    result = run("a.run", "s.run", "--annotate", "--json")
    assert json.loads(result.stdout)["verdict"] == "SLOWER"
    assert result.stderr.startswith("::error title=SLOWER%3A GET /api/e02/{id}::p50 ")


def test_the_page_says_how_it_is_made_again(run, tmp_path):
    """The command on the page names all runs and options, and it works."""
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\npath = "$.at"\nignore = true\n')
    page = run("a.run", "b.run", "--margin", "12.345%", "--rules", str(rules), "--format", "html").stdout
    command = html.unescape(re.search(r"<pre><code>(.*?)</code></pre>", page)[1])
    words = shlex.split(command)
    assert words[:2] == ["hookreel", "diff"]
    assert {"12.345%", str(rules), "a.run", "b.run"} <= set(words)
    assert run(*words[2:]).stdout == page


def test_rules_that_cannot_be_read_are_wrong_usage(run):
    """A misspelt file of rules does not pass for none."""
    with pytest.raises(UsageError, match="cannot be read"):
        run("a.run", "b.run", "--rules", "absent.toml")


def test_endpoints_may_be_put_together(run, folder):
    """A file of templates changes what is compared, and stands in the command that repeats the report."""
    (folder / "endpoints.toml").write_text('endpoints = ["GET /api/{kind}/{id}"]')
    told = run("a.run", "b.run", "--endpoints", "endpoints.toml", "--json")
    assert [one["endpoint"] for one in json.loads(told.stdout)["endpoints"]] == ["GET /api/{kind}/{id}"]
    page = run("a.run", "b.run", "--endpoints", "endpoints.toml", "--format", "html").stdout
    assert "--endpoints endpoints.toml" in html.unescape(page)
