"""Formats for other programs: each is read by what it is for, and nothing from traffic breaks out of it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
from dataclasses import replace
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from replayer.review.compare import compare
from replayer.review.report import pipelines
from replayer.review.report.material import Material
from replayer.review.report.writers import WRITERS
from replayer.review.sides import NamedRun
from replayer.review.slo import ObjectiveResult, Proof, parse_objectives
from replayer.review.verdict import Verdict

SCHEMA = json.loads((files("replayer") / "review/report/diff.schema.json").read_text())
NASTY = (
    "GET /\n::error::x",
    "GET /]]></testsuite><script>alert(1)</script>",
    '=cmd|"/c calc"!A1 /x,y',
    "-1+2 /z",
    "POST /%0A::set-output name=a::b\r\n##[error]",
    "GET /a\x00\x1b[31m\ufffe\u202e &amp;<!--",
    "BenchmarkX 1 1 ns/op\nside: baseline",
    "`|*_[x](javascript:y)@all<details>",
)


@pytest.fixture(scope="module")
def make_material(campaign):
    """Build a material with these endpoints, each slower or not, of as many runs a side."""

    def make(labels, factor=3.0, runs=3, name="a.run"):
        rng = np.random.default_rng(5)
        count = 60 * len(labels)
        due, endpoint = np.arange(count) * 10_000_000, np.tile(np.arange(len(labels)), 60)

        def run(at, scale):
            times = rng.lognormal(16.5, 0.2, count) * scale
            made = campaign.make_run(
                tuple(labels), endpoint, due, times, np.full(count, 200), run_id=f"{at:032x}"
            )
            return NamedRun(name=name, run=made)

        baseline = tuple(run(at, 1.0) for at in range(runs))
        candidate = tuple(run(at + runs, factor) for at in range(runs))
        comparison = compare(baseline, candidate)
        return Material(
            comparison=comparison, baseline=baseline, candidate=candidate, command="hookreel diff"
        )

    return make


@pytest.fixture(scope="module")
def slower(make_material):
    """Three runs a side, two endpoints, both slower."""
    return make_material(["GET /a", "POST /b/{id}"])


@pytest.fixture(scope="module")
def nasty(make_material):
    """Endpoints and files whose names try to break out of every format."""
    return make_material(NASTY, name="evil\n::error::<b>,=1.run")


@pytest.fixture(scope="module")
def invalid(slower):
    """A comparison in which nothing was compared."""
    bad = replace(slower.comparison.candidate[0], invalid_reasons=("It lagged <b>.",))
    comparison = replace(slower.comparison, verdict=Verdict.INVALID, endpoints=(), candidate=(bad,))
    return replace(slower, comparison=comparison)


def test_the_schema_is_one_and_every_key_is_in_it(slower, invalid):
    """The published schema is valid, describes each key of a report, and reports keep to it."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for material in (slower, invalid):
        report = json.loads(WRITERS["json"](material))
        jsonschema.validate(report, SCHEMA)
        assert list(report) == list(SCHEMA["properties"])
        for endpoint in report["endpoints"]:
            assert list(endpoint) == list(SCHEMA["$defs"]["endpoint"]["properties"])
            assert list(endpoint["quantiles"][0]) == list(SCHEMA["$defs"]["quantile"]["properties"])
        assert list(report["baseline"][0]) == list(SCHEMA["$defs"]["run"]["properties"])


@pytest.mark.parametrize(
    ("path", "value"),
    [("verdict", "SLOW"), ("endpoints", None), ("margin", "5%"), ("baseline", [])],
)
def test_the_schema_refuses_what_is_no_report(slower, path, value):
    """A schema that took anything would be no promise."""
    report = json.loads(WRITERS["json"](slower))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**report, path: value}, SCHEMA)


def test_junit_has_a_failure_for_each_harmed_endpoint(slower):
    """A reader of the test page sees which endpoint failed and by how much."""
    suite = etree.fromstring(WRITERS["junit"](slower).encode())[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "2", "0")
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert set(cases) == {"GET /a", "POST /b/{id}"}
    assert cases["GET /a"][0].get("type") == "SLOWER"
    assert "p50" in cases["GET /a"][0].get("message")


def test_junit_skips_what_is_not_known_and_passes_what_is_fine(slower):
    """INCONCLUSIVE is no green test, and SAME no red one."""
    first, second = slower.comparison.endpoints
    endpoints = (replace(first, verdict=Verdict.INCONCLUSIVE), replace(second, verdict=Verdict.SAME))
    comparison = replace(slower.comparison, verdict=Verdict.INCONCLUSIVE, endpoints=endpoints)
    suite = etree.fromstring(WRITERS["junit"](replace(slower, comparison=comparison)).encode())[0]
    assert [case[0].tag for case in suite.iter("testcase")] == ["skipped", "system-out"]
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "1")


def test_an_invalid_comparison_is_red_everywhere(invalid):
    """No format lets a comparison that proves nothing pass for a good one, or gives figures of it."""
    suite = etree.fromstring(WRITERS["junit"](invalid).encode())[0]
    assert suite.get("errors") == "1"
    assert "It lagged <b>." in suite.find("testcase/error").get("message")
    (issue,) = json.loads(WRITERS["codequality"](invalid))
    assert issue["severity"] == "blocker"
    assert issue["description"] == "INVALID: a.run proves nothing: It lagged <b>."
    assert pipelines.workflow_commands(invalid.comparison) == (
        "::error title=INVALID::a.run proves nothing: It lagged <b>.\n"
    )
    assert "Benchmark" not in WRITERS["benchstat"](invalid)
    assert len(WRITERS["otava"](invalid).splitlines()) == 1


def test_code_quality_names_what_is_wrong_the_same_every_time(slower, make_material):
    """Fingerprints stay while an endpoint is slower, whatever the figures are."""
    issues = json.loads(WRITERS["codequality"](slower))
    assert {issue["severity"] for issue in issues} == {"major"}
    again = json.loads(WRITERS["codequality"](make_material(["GET /a", "POST /b/{id}"], factor=4.0)))
    assert sorted(each["fingerprint"] for each in issues) == sorted(each["fingerprint"] for each in again)
    assert len({each["fingerprint"] for each in issues}) == 2


@pytest.fixture(scope="module")
def promised(slower):
    """Two endpoints that are fine, and objectives that are missed, not proven and met."""
    endpoints = tuple(replace(one, verdict=Verdict.SAME) for one in slower.comparison.endpoints)
    objectives = tuple(
        ObjectiveResult(
            objective=objective, requests=360, bad=bad, low=0.01, high=0.02, proof=proof, needed=needed
        )
        for objective, bad, proof, needed in zip(
            parse_objectives("p99<1ms,p95<2s,errors<0.1%"),
            (360, 2, 0),
            (Proof.MISSED, Proof.NOT_PROVEN, Proof.MET),
            (None, 900, None),
            strict=True,
        )
    )
    return replace(
        slower,
        comparison=replace(
            slower.comparison, verdict=Verdict.SAME, endpoints=endpoints, objectives=objectives
        ),
    )


def test_a_missed_objective_is_red_everywhere(promised):
    """The exit code is 3, so no format is green: each says which one was missed, and by how much."""
    assert promised.comparison.exit_code() == 3
    suite = etree.fromstring(WRITERS["junit"](promised).encode())[0]
    assert [suite.get(name) for name in ("tests", "failures", "skipped", "errors")] == ["5", "1", "1", "0"]
    cases = {case.get("name"): case[0] for case in suite.iter("testcase")}
    assert [cases[name].tag for name in ("p99<1ms", "p95<2s", "errors<0.1%")] == [
        "failure", "skipped", "system-out",
    ]  # fmt: skip
    assert cases["p99<1ms"].get("message").startswith("MISSED: p99<1ms; 360 of 360 requests")
    missed, unproven = json.loads(WRITERS["codequality"](promised))
    assert (missed["severity"], unproven["severity"]) == ("major", "info")
    assert missed["description"].startswith("MISSED: p99<1ms: 360 of 360 requests were beyond it")
    assert missed["fingerprint"] != unproven["fingerprint"]
    error, warning = pipelines.workflow_commands(promised.comparison).splitlines()
    assert error.startswith("::error title=MISSED%3A p99<1ms::360 of 360 requests were beyond it")
    assert warning.startswith("::warning title=NOT PROVEN%3A p95<2s::2 of 360 requests were beyond it")


def test_annotations_are_one_line_each_and_never_more_than_are_shown(make_material):
    """Ten errors at most, the last of which counts the rest."""
    many = make_material([f"GET /e{at}" for at in range(30)])
    lines = pipelines.workflow_commands(many.comparison).splitlines()
    assert len(lines) == 10
    assert all(re.fullmatch(r"::error title=[^:,]+::[^\n]+", line) for line in lines)
    assert lines[-1].endswith("and 21 more; see the report")
    calm = replace(many.comparison, verdict=Verdict.SAME, endpoints=())
    assert pipelines.workflow_commands(calm) == ""


def test_otava_has_a_row_per_run_and_a_column_per_figure(slower):
    """The baseline's runs come first, times are in ms, and too few answers leave a column out."""
    rows = list(csv.DictReader(io.StringIO(WRITERS["otava"](slower))))
    assert [row["side"] for row in rows] == ["baseline"] * 3 + ["candidate"] * 3
    assert list(rows[0]) == ["time", "side", "run", "GET:/a.p50_ms", "POST:/b/{id}.p50_ms"]
    before, after = (float(rows[at]["GET:/a.p50_ms"]) for at in (0, 5))
    assert after / before == pytest.approx(3, rel=0.2)
    assert rows[0]["time"].endswith("+00:00")


def test_names_from_traffic_stay_inside_every_format(nasty):
    """Whatever an endpoint or a file is called, it is one value in its place."""
    count = len(NASTY)
    report = json.loads(WRITERS["json"](nasty))
    assert {one["endpoint"] for one in report["endpoints"]} == set(NASTY)
    suite = etree.fromstring(WRITERS["junit"](nasty).encode())[0]
    assert {child.tag for child in suite.iter()} == {"testsuite", "testcase", "failure", "system-out"}
    assert len(suite.findall("testcase")) == count
    commands = pipelines.workflow_commands(nasty.comparison)
    assert len(commands.splitlines()) == count
    assert all(line.startswith("::error title=SLOWER%3A ") for line in commands.splitlines())
    assert all(line.count("::") >= 2 and "%0A" not in line for line in commands.splitlines())
    assert len(json.loads(WRITERS["codequality"](nasty))) == count
    for row in csv.reader(io.StringIO(WRITERS["otava"](nasty))):
        assert len(row) == 3 + count
        assert not any(cell[:1] in "=+-@\t" for cell in row if cell)
    lines = WRITERS["benchstat"](nasty).splitlines()
    assert len([line for line in lines if line.startswith("Benchmark")]) == 6 * count
    assert all(re.fullmatch(r"BenchmarkReplay/\S+ 1( \d+ p\d\d-ns)+", one) for one in lines if one[:1] == "B")
    assert [line for line in lines if line.startswith("side:")] == ["side: baseline"] * 3 + [
        "side: candidate"
    ] * 3


def test_figures_of_very_long_names_can_be_read_and_told_apart(make_material):
    """Two paths that differ in their last characters are two short names, the same in every run."""
    long = make_material([f"GET /{'é' * 5_000}/a", f"GET /{'é' * 5_000}/b"], runs=1)
    lines = [line.split()[0] for line in WRITERS["benchstat"](long).splitlines() if line[:5] == "Bench"]
    columns = next(csv.reader(io.StringIO(WRITERS["otava"](long))))[3:]
    for names in (lines, columns):
        assert len(set(names)) == 2
        assert max(map(len, names)) < 200
    assert lines[:2] == lines[2:]


@given(label=st.text(min_size=1, max_size=60), name=st.text(min_size=1, max_size=30))
def test_no_text_breaks_out(make_material, label, name):
    """A property over any text: all formats stay readable and keep their number of records."""
    material = make_material([label], runs=1, name=name)
    suite = etree.fromstring(WRITERS["junit"](material).encode())[0]
    assert len(suite.findall("testcase")) == 1
    assert len(pipelines.workflow_commands(material.comparison).splitlines()) == 1
    assert json.loads(WRITERS["json"](material))["endpoints"][0]["endpoint"] == label
    assert len(list(csv.reader(io.StringIO(WRITERS["otava"](material))))) == 3
    assert WRITERS["benchstat"](material).count("\nBenchmark") == 2
    markdown = WRITERS["markdown"](material)
    assert not re.search(r"<(?!/?(details|summary|code)>|!-- hookreel diff -->)", markdown)


@pytest.fixture(scope="session")
def benchstat(tmp_path_factory):
    """The real tool, built by go."""
    place = tmp_path_factory.mktemp("go")
    module = "golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da"
    subprocess.run(["go", "install", module], env={**os.environ, "GOBIN": str(place)}, check=True)
    return place / "benchstat"


@pytest.mark.go
def test_benchstat_compares_the_sides(benchstat, make_material, tmp_path):
    """The tool itself reads the figures and finds the change between the two sides."""
    path = tmp_path / "figures.txt"
    path.write_text(WRITERS["benchstat"](make_material(["GET /a-8", "POST /b/{id}"], runs=6)))
    found = subprocess.run([benchstat, "-col", "side", path], capture_output=True, text=True, check=True)
    assert found.stderr == ""
    (line,) = re.findall(r"POST/b/\{id\} .*", found.stdout)
    change, p = re.search(r"\+(\d+\.\d+)% \(p=(\d\.\d+)", line).groups()
    assert 150 < float(change) < 250
    assert float(p) < 0.05
    assert "p50-sec" in found.stdout
