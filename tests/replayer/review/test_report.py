"""Three reports of one comparison: complete, escaped, bounded and the same every time."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from replayer.review.compare import compare
from replayer.review.report import charts, markdown, text, wording
from replayer.review.report import json as json_report
from replayer.review.report.headline import headline
from replayer.review.report.material import Material
from replayer.review.report.page_tables import validity
from replayer.review.sides import NamedRun
from replayer.review.slo import ObjectiveResult, Proof, parse_objectives
from replayer.review.verdict import Options, Verdict

ENDPOINT_KEYS = (
    "endpoint verdict suspected quantile ratio ci mde delta_ns p_adjusted fragile evidence outcome n statuses"
    " status_p status_p_adjusted status_changed quantiles warnings advice answers"
)
QUANTILE_KEYS = "quantile verdict baseline_ns candidate_ns delta_ns ratio ci mde noise p p_adjusted fragile"


@pytest.fixture(scope="module")
def changed(campaign):
    """Three runs a side, one endpoint slower and one that answers 503."""
    quiet = campaign.world(6, requests=250)
    slow, failing = list(quiet.medians_ms)[3], list(quiet.medians_ms)[1]
    after = replace(quiet, factor={slow: 3.0}, statuses={failing: (503, 0.2, 1.0)})
    return campaign.review(quiet, after, (4, 4), 7)


@pytest.fixture(scope="module")
def hostile(campaign):
    """An endpoint label that tries to break out of every format."""
    label = "GET /a|b`c<script>@all*_[x](y)\n\x1b[31m/é"
    rng = np.random.default_rng(1)

    def run(name, factor):
        due = np.arange(60) * 10_000_000
        times = rng.lognormal(16.5, 0.2, 60) * factor
        return NamedRun(
            name=f"{name}|`.run",
            run=campaign.make_run((label,), np.zeros(60), due, times, np.full(60, 200), run_id=name),
        )

    return compare([run("a", 1), run("b", 1)], [run("c", 30)])


def test_json_has_every_promised_key_in_order(changed):
    """Programs find verdict, endpoints and their figures; the order of keys is fixed."""
    report = json.loads(json_report.render(changed))
    assert report["verdict"] == "BEHAVES DIFFERENTLY"
    assert list(report)[:4] == ["format", "verdict", "headline", "evidence"]
    for endpoint in report["endpoints"]:
        assert " ".join(endpoint) == ENDPOINT_KEYS
        assert endpoint["evidence"] == "runs"
        assert len(endpoint["ci"]) == 2
        assert {type(endpoint[key]) for key in ("ratio", "mde", "delta_ns", "p_adjusted")} == {float}
        assert " ".join(endpoint["quantiles"][0]) == QUANTILE_KEYS
    assert report["endpoints"][0]["statuses"]["candidate"]["503"] > 100


def test_json_has_null_where_there_is_no_figure(campaign):
    """An endpoint that could not be judged has null, never NaN or text."""
    tiny = campaign.world(1, requests=5)
    endpoint = json.loads(json_report.render(campaign.review(tiny, tiny, (1, 1), 3)))["endpoints"][0]
    assert [endpoint[key] for key in ("quantile", "ratio", "ci", "mde", "delta_ns", "p_adjusted")] == [
        None
    ] * 6
    assert "20 are needed" in endpoint["advice"]


def test_text_says_verdict_validity_table_and_what_next(changed):
    """The verdict stands first, and each section has its place."""
    report = text.render(changed)
    assert report.startswith("BEHAVES DIFFERENTLY: GET /api/e01/{id} answers 503 2")
    places = [report.index(title) for title in ("Validity", "verdict", "Notes", "How sure", "What next")]
    assert places == sorted(places)
    assert report.index("answers 503") < report.index("Validity")


def test_text_escapes_control_characters(hostile):
    """A recorded path cannot move the cursor of a terminal."""
    report = text.render(hostile)
    assert "\x1b" not in report
    assert r"\x1b[31m" in report


def test_text_keeps_its_table_in_shape(campaign):
    """A very long path is cut in its middle in the table."""
    long = campaign.World(medians_ms={f"GET /start/{'x' * 500}/end": 10.0}, requests=30)
    table = text.render(campaign.review(long, long, (1, 1), 3)).split("\n\n")[2]
    assert max(map(len, table.splitlines())) < 200
    assert "GET /start/xxx" in table
    assert "x/end" in table


def test_markdown_shows_changes_and_folds_the_rest(changed):
    """Changed endpoints are in sight, the others in details that are closed again."""
    report = markdown.render(changed)
    assert report.startswith(markdown.MARKER + "\n\n### **BEHAVES DIFFERENTLY**: ")
    folded = report.index("<details>")
    assert report.index("e01") < report.index("| SLOWER |") < folded < report.index("e04")
    assert report.count("<details>") == report.count("</details>")


def test_markdown_escapes_what_labels_bring(hostile):
    """Pipes, backticks, HTML, mentions and line breaks of a label are entities in the comment."""
    report = markdown.render(hostile)
    for raw in ("<script", "`", "@all", "*_", "[x]", "\x1b", "|.run"):
        assert raw not in report.partition("For firm evidence")[0]
    row = next(line for line in report.splitlines() if line.startswith("| SLOWER |"))
    assert row.count("|") == 10
    assert "<code>GET /a&#124;b&#96;c&#60;script" in row


def test_markdown_stays_below_the_limit_of_a_comment(campaign):
    """Two thousand endpoints with long names fit into 60 kB, with what was left out said."""
    quiet = campaign.World(medians_ms={f"GET /{at}/{'é' * 300}": 10.0 for at in range(500)}, requests=25)
    slow = replace(quiet, factor=dict.fromkeys(list(quiet.medians_ms)[:100], 30.0))
    report = markdown.render(campaign.review(quiet, slow, (1, 1), 3))
    assert len(report.encode()) < 60_000
    assert re.search(r"and \d+ more; the JSON report has them all", report)
    assert report.count("<details>") == report.count("</details>")


@pytest.mark.parametrize("length", [150, 700])
def test_markdown_keeps_the_advice_at_the_end_of_a_warning(changed, length):
    """However long the names in it are, the load to replay at and the second class of machine are there."""
    fell = f"{'c' * length}.run: SATURATED at 10x: in flight rose from 4 to 90; replay at 6.3x or less."
    unlike = (
        f"Unlike runs: {'c' * length}.run was sent by a machine of another class (Xeon, 4 cores) than"
        f" {'b' * 100}.run (EPYC, 8 cores); a difference may come from that alone."
    )
    report = markdown.render(replace(changed, warnings=(fell, unlike)))
    assert "- warning: cc" in report
    assert "replay at 6.3x or less." in report
    assert "(EPYC, 8 cores); a difference may come from that alone." in report


def test_markdown_shows_warnings_before_runs_and_counts_what_did_not_fit(changed):
    """Fifty runs with long names leave room for warnings and for every changed endpoint."""
    runs = tuple(replace(changed.candidate[0], name=f"{at}{'é' * 200}.run") for at in range(50))
    report = markdown.render(replace(changed, warnings=("It rained.",), candidate=runs))
    assert len(report.encode()) < 60_000
    assert report.index("warning: It rained.") < report.index("- baseline ")
    assert re.search(r"- and \d+ more; the JSON report has them all", report)
    assert report.index("| SLOWER |") < report.index("<details>")


def test_no_report_for_readers_drowns_in_one_name(campaign):
    """A path of 5,000 characters is cut in its middle; what happened there is said in the first line."""
    quiet = campaign.World(medians_ms={f"GET /start/{'x' * 5_000}/end": 10.0, "GET /b": 10.0}, requests=200)
    slow = replace(quiet, factor={next(iter(quiet.medians_ms)): 30.0})
    comparison = campaign.review(quiet, slow, (1, 1), 3)
    assert re.fullmatch(r"SLOWER: GET /start/x+\.\.\.x+/end p50 .*", headline(comparison))
    assert len(headline(comparison)) < 400
    for render in (text.render, markdown.render):
        assert max(map(len, render(comparison).splitlines())) < 1_200


@pytest.mark.parametrize(
    ("baseline_ms", "verdict", "said"),
    [
        ((2.0, 3.0), "SAME", "SAME (within 1.00 ms)"),
        ((2.0, 90.0), "SAME", "SAME (within 1.00 ms or 5 %)"),
        ((80.0, 90.0), "SAME", "SAME"),
        ((2.0, 3.0), "SLOWER", "SLOWER"),
    ],
)
def test_same_says_within_which_time_where_the_margin_is_less(changed, baseline_ms, verdict, said):
    """Half a millisecond more of 2 ms is SAME by the absolute floor, which the row then names."""
    slower = next(endpoint for endpoint in changed.endpoints if endpoint.quantiles)
    quantiles = tuple(replace(slower.quantiles[0], baseline_ns=ms * 1e6) for ms in baseline_ms)
    endpoint = replace(slower, verdict=Verdict(verdict), quantiles=quantiles)
    assert wording.verdict_cell(endpoint, Options()) == said
    comparison = replace(changed, verdict=endpoint.verdict, endpoints=(endpoint,))
    assert f"\n{said} " in text.render(comparison)
    assert f"\n| {said} |" in markdown.render(comparison)


def test_an_endpoint_whose_every_status_changed_is_in_the_headline(campaign):
    """Three requests are too few for a verdict, and too much to stand in a note alone."""

    def run(name, status):
        due = np.arange(43) * 10_000_000
        endpoint = np.repeat([0, 1], [40, 3])
        statuses = np.where(endpoint == 0, 200, status)
        times = np.random.default_rng(len(name)).lognormal(16.5, 0.2, 43)
        made = campaign.make_run(("GET /a", "POST /\x1b"), endpoint, due, times, statuses, run_id=name)
        return NamedRun(name=name, run=made)

    changed = compare([run("a", 201)], [run("bb", 500)])
    assert headline(changed).endswith(
        "; every status changed on POST /\\x1b (201 -> 500), with too few requests to be sure"
    )
    assert "every status" not in headline(compare([run("a", 201)], [run("bb", 201)]))


def test_an_invalid_run_of_few_sends_says_so(campaign):
    """One late send of 30 is its p99; a reader of the refusal learns that."""

    def run(name, **header):
        due = np.arange(30) * 10_000_000
        made = campaign.make_run(
            ("GET /a",), np.zeros(30), due, np.full(30, 1e6), np.full(30, 200), run_id=name
        )
        return NamedRun(name=name, run=replace(made, header=replace(made.header, **header)))

    refused = compare([run("a")], [run("b", invalid_reasons=("The send lag's p99 is 5 ms.",))])
    (line,) = wording.refusals(refused)
    assert line.startswith("b proves nothing: The send lag's p99 is 5 ms. Of 30 sends the p99 is the longest")


@pytest.mark.parametrize("render", [text.render, json_report.render, markdown.render])
def test_reports_repeat_byte_for_byte(campaign, render):
    """The same runs give the same bytes, also where resampling is involved."""
    quiet = campaign.world(3, requests=120)
    assert render(campaign.review(quiet, quiet, (2, 1), 4)) == render(
        campaign.review(quiet, quiet, (2, 1), 4)
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [(1.034, "1.03x"), (5.94, "5.9x"), (31.2, "31x"), (0.5, "0.50x"), (1e9, ">1e6x")],
)
def test_ratios_have_the_digits_that_matter(value, said):
    """Small changes keep two decimals, large ones none."""
    assert wording.times(value) == said


@pytest.mark.parametrize(("value", "said"), [(0.0, "0 %"), (0.0013, "0.13 %"), (0.5, "50 %"), (1.0, "100 %")])
def test_shares_are_percent(value, said):
    """Small shares keep two digits."""
    assert wording.share(value) == said


def test_a_saturated_run_is_called_so_where_runs_are_listed(changed):
    """On the screen, in the comment and on the page; an INVALID one is that first."""
    first, *others = changed.candidate
    fell = replace(first, saturated="in flight rose from 4 to 90.")
    comparison = replace(changed, candidate=(fell, *others))
    assert f"{fell.name}: SATURATED, " in text.render(comparison)
    assert f"{others[0].name}: valid, " in text.render(comparison)
    assert "SATURATED" in markdown.render(comparison)
    both = replace(fell, invalid_reasons=("It was late.",))
    assert wording.run_line(both).startswith(f"{both.name}: INVALID, ")


def test_a_suspicion_is_told_in_the_first_line_and_beside_the_endpoint(changed):
    """It is never a verdict: the endpoint stays INCONCLUSIVE, with the word perhaps."""
    first, *others = changed.endpoints
    doubtful = next(one for one in others if one.deciding is not None)
    suspected = replace(doubtful, verdict=Verdict.INCONCLUSIVE, suspected=Verdict.SLOWER)
    comparison = replace(changed, endpoints=(first, suspected), shared_taken_off=True, shared_shift=1.02)
    lines = text.render(comparison)
    assert lines.splitlines()[0].endswith(f"; perhaps SLOWER: {suspected.endpoint}")
    words = " ".join(lines.split())
    assert "INCONCLUSIVE (perhaps SLOWER)" in words
    assert "not sure enough" in words
    assert "The middle endpoint moved by 1.02x" in words
    assert "INCONCLUSIVE (perhaps SLOWER)" in markdown.render(comparison).partition("<details>")[0]
    told = json.loads(json_report.render(comparison))
    assert told["shared_taken_off"] is True
    assert [one["suspected"] for one in told["endpoints"]] == [None, "SLOWER"]


def test_one_line_names_what_else_a_reviewer_must_not_miss(changed):
    """A SLOWER endpoint behind other answers, and objectives that were not kept."""
    line = headline(changed)
    slower = next(one for one in changed.endpoints if one.verdict is Verdict.SLOWER)
    assert f"; SLOWER: {slower.endpoint} p" in line
    objective = parse_objectives("p99<1ms")[0]
    missed = ObjectiveResult(
        objective=objective, proof=Proof.MISSED, requests=9, bad=9, low=0.7, high=1.0, needed=None
    )
    for verdict in (changed.verdict, Verdict.SAME):
        assert "; MISSED: p99<1ms" in headline(replace(changed, verdict=verdict, objectives=(missed,)))


def test_the_page_folds_good_runs_and_shows_bad_ones(changed):
    """One sentence says that all are valid; otherwise the list is open."""
    page = validity(Material(comparison=changed, baseline=(), candidate=(), command=""))
    assert "8 runs, all valid: 4 of the baseline against" in page
    assert '<details aria-label="Each run"><summary>' in page
    first, *others = changed.candidate
    fell = replace(changed, candidate=(replace(first, saturated="it rose."), *others))
    page = validity(Material(comparison=fell, baseline=(), candidate=(), command=""))
    assert "8 runs, 7 valid, 1 SATURATED: " in page
    assert '<details aria-label="Each run" open>' in page


@pytest.mark.parametrize("reach", [0.03, 0.1, 0.3, 0.7, 1.5, 3.0, 9.0])
def test_the_axis_of_ratios_has_a_few_round_ticks(reach):
    """One of them is 1, none lies outside, and there are enough to read a ratio off."""
    ticks = charts._ratio_ticks(reach)
    assert 1 in ticks
    assert all(abs(math.log(tick)) <= reach for tick in ticks)
    assert (3 if reach > 0.05 else 1) <= len(ticks) <= 9
