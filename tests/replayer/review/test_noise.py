"""Answers compared request by request: what changed is found, what differs by itself is not."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files

import jsonschema
import numpy as np
import pytest

from replayer.kept import KeptResponse, KeptResponses
from replayer.results import read_run, write_run
from replayer.review.answers import Change, Part
from replayer.review.compare import compare
from replayer.review.noise import compare_answers, with_answers
from replayer.review.noise_rules import Rule
from replayer.review.report import json as json_report
from replayer.review.sides import NamedRun
from replayer.review.verdict import Verdict

COUNT = 60
JSON = (b"Content-Type", b"application/json")


def _body(seq, rng):
    """What one build answers to request ``seq``: half of it is another each time."""
    return {
        "id": f"{rng.integers(16**12):032x}",
        "at": int(rng.integers(10**12)),
        "token": f"tok_{rng.integers(16**12):x}",
        "total": seq * 10,
        "name": f"order {seq}",
        "items": [{"sku": f"s{at}", "count": at, "etag": f"{rng.integers(10**9)}"} for at in range(3)],
        "by_id": {str(rng.integers(10**9)): {"state": "done"}},
        "nothing": None,
    }


@pytest.fixture
def make_run(campaign):
    """A run of one endpoint that keeps its answers; ``change`` makes another build of it."""

    def make(seed, change=lambda body, seq: body, *, status=200, headers=(), count=COUNT, pack=None):
        rng = np.random.default_rng(seed)
        due = np.arange(count) * 10_000_000
        times = rng.lognormal(16.5, 0.2, count)
        made = campaign.make_run(
            ("GET /a",), np.zeros(count), due, times, np.full(count, status), run_id=f"{seed:032x}"
        )
        kept = []
        for seq in range(count):
            body = json.dumps(change(_body(seq, rng), seq)).encode()
            body, coding = pack(body) if pack else (body, ())
            request_id = (b"X-Request-Id", str(rng.integers(10**12)).encode())
            kept.append(KeptResponse(row=seq, headers=(JSON, request_id, *headers, *coding), body=body))
        return replace(made, kept=KeptResponses.of(kept))

    return make


@pytest.fixture
def answers(make_run):
    """The answers of another build compared with those of two baseline runs."""

    def of(change=lambda body, seq: body, rules=(), **options):
        found = compare_answers([make_run(1), make_run(2)], [make_run(3, change, **options)], rules)
        return found["GET /a"]

    return of


def _set(path, value):
    def change(body, seq):
        *places, last = path
        inner = body
        for place in places:
            inner = inner[place]
        inner[last] = value(inner.get(last), seq) if callable(value) else value
        return body

    return change


def _without(name):
    def change(body, seq):
        return {key: value for key, value in body.items() if key != name}

    return change


def test_what_differs_between_identical_replays_is_no_finding(answers):
    """Timestamps, ids, tokens and ids as keys give 0 findings, and each is named with its reason."""
    found = answers()
    assert found.changes == ()
    assert not found.different
    assert (found.pairs, found.bodies, found.noise_pairs) == (COUNT, COUNT, COUNT)
    masked = {(place.part, place.path): place.reason for place in found.masked}
    assert {path for _, path in masked} == {"$.id", "$.at", "$.token", "$.items[*].etag", "x-request-id"}
    assert masked[Part.BODY, "$.at"] == "changed in 60 of 60 pairs within the baseline"


@pytest.mark.parametrize(
    ("change", "path", "kind"),
    [
        (_set(["total"], lambda total, _: total + 1), "$.total", Change.VALUE),
        (_set(["items", 1, "count"], 77), "$.items[*].count", Change.VALUE),
        (_without("name"), "$.name", Change.MISSING),
        (_without("at"), "$.at", Change.MISSING),
        (_set(["extra"], 1), "$.extra", Change.ADDED),
        (_set(["total"], lambda total, _: str(total)), "$.total", Change.TYPE),
        (_set(["at"], lambda at, _: str(at)), "$.at", Change.TYPE),
        (_set(["nothing"], 0), "$.nothing", Change.TYPE),
        (_set(["items"], lambda items, _: items[::-1]), "$.items[*]", Change.ORDER),
        (_set(["items"], lambda items, _: items[:-1]), "$.items[*]", Change.MISSING),
        (_set(["items"], lambda items, _: [{"sku": "new"}, *items]), "$.items[*]", Change.ADDED),
        (lambda body, _: _set(["state"], "failed")(next(iter(body["by_id"].values())), 0) and body,
         "$.by_id.{id}.state", Change.VALUE),
    ],
)  # fmt: skip
def test_each_kind_of_change_is_found_at_its_path(answers, change, path, kind):
    """A changed, missing, added or retyped field and a reordered array are each one sure finding."""
    found = answers(change)
    assert [(one.part, one.path, one.change) for one in found.changes] == [(Part.BODY, path, kind)]
    (one,) = found.changes
    assert one.sure
    assert (one.changed, one.compared) == (COUNT, COUNT)
    assert 1 <= len(one.examples) <= 3
    assert len({(example.before, example.after) for example in one.examples}) == len(one.examples)
    assert found.different


def test_examples_show_what_changed_and_no_secret(answers):
    """Before and after stand beside each other; a token's value does not."""
    (total,) = answers(_set(["total"], lambda total, _: total + 1)).changes
    assert [(one.seq, one.before, one.after) for one in total.examples][:2] == [
        (0, "0", "1"),
        (1, "10", "11"),
    ]
    (secret,) = answers(_set(["api_key"], "hunter2hunter2")).changes
    assert [one.after for one in secret.examples] == ["14 characters, not shown"]
    (missing,) = answers(_without("name")).changes
    assert (missing.examples[0].before, missing.examples[0].after) == ('"order 0"', "-")


def test_a_header_that_changed_is_found(answers):
    """Headers are compared like bodies; those that say nothing of their own are not."""
    found = answers(headers=((b"X-Cache", b"HIT"), (b"Date", b"today"), (b"Content-Length", b"1")))
    (one,) = found.changes
    assert (one.part, one.path, one.change, one.sure) == (Part.HEADER, "x-cache", Change.ADDED, True)
    assert one.examples[0].after == '"HIT"'


def test_another_status_is_found_and_its_body_not_compared(answers):
    """An error's body has other fields, which is no news beside its status."""
    found = answers(_without("name"), status=500)
    (one,) = found.changes
    assert (one.part, one.path, one.sure, one.changed) == (Part.STATUS, "", True, COUNT)
    assert (one.examples[0].before, one.examples[0].after) == ("200", "500")
    assert found.bodies == 0


def test_statuses_that_trade_places_are_found(campaign):
    """Half of the requests turn from 200 to 404 and the others back, so the mix alone stays the same."""

    def run(seed, odd):
        status = np.where(np.arange(COUNT) % 2 == odd, 200, 404)
        due = np.arange(COUNT) * 10_000_000
        times = np.random.default_rng(seed).lognormal(16.5, 0.2, COUNT)
        made = campaign.make_run(("GET /a",), np.zeros(COUNT), due, times, status, run_id=f"{seed:032x}")
        return NamedRun(name=str(seed), run=made)

    comparison = compare([run(1, 0), run(2, 0)], [run(3, 1)])
    assert comparison.verdict is Verdict.BEHAVES_DIFFERENTLY
    assert compare([run(1, 0), run(2, 0)], [run(3, 0)]).verdict is not Verdict.BEHAVES_DIFFERENTLY


def test_a_change_of_a_body_decides_the_verdict(make_run):
    """The endpoint behaves differently, is named in the headline, and the exit code says so."""
    before = [NamedRun(name="a", run=make_run(1)), NamedRun(name="b", run=make_run(2))]
    after = [NamedRun(name="c", run=make_run(3, _without("name")))]
    comparison = compare(before, after)
    assert comparison.verdict is Verdict.BEHAVES_DIFFERENTLY
    assert comparison.verdict.exit_code == 3
    report = json.loads(json_report.render(comparison))
    jsonschema.validate(
        report, json.loads((files("replayer") / "review/report/diff.schema.json").read_text())
    )
    assert report["endpoints"][0]["answers"]["changes"][0]["path"] == "$.name"
    assert report["headline"].startswith(
        "BEHAVES DIFFERENTLY: GET /a body $.name missing in 60 of 60 answers"
    )
    assert compare(before, [NamedRun(name="d", run=make_run(4))]).verdict is not Verdict.BEHAVES_DIFFERENTLY


def test_only_what_is_inconclusive_is_perhaps_slower(make_run):
    """Where the answers decide, nothing is said about times that are then no comparison."""
    compared = compare(*([NamedRun(name=str(at), run=make_run(at))] for at in (1, 2))).endpoints[0]
    suspicious = replace(compared, suspected=Verdict.SLOWER)
    found = compare_answers([make_run(1), make_run(2)], [make_run(3, _without("name"))])["GET /a"]
    decided = with_answers(suspicious, found)
    assert (decided.verdict, decided.suspected) == (Verdict.BEHAVES_DIFFERENTLY, None)
    alike = compare_answers([make_run(1), make_run(2)], [make_run(3)])["GET /a"]
    assert with_answers(suspicious, alike).suspected is Verdict.SLOWER


def test_without_a_second_baseline_run_nothing_is_sure_of_values(make_run):
    """Nobody knows then what differs by itself; a missing field is still a finding."""
    found = compare_answers([make_run(1)], [make_run(2, _set(["total"], 7))])["GET /a"]
    assert found.changes == ()
    assert any(place.path == "$.total" and "no second run" in place.reason for place in found.masked)
    found = compare_answers([make_run(1)], [make_run(2, _without("name"))])["GET /a"]
    assert [(one.path, one.change, one.sure) for one in found.changes] == [("$.name", Change.MISSING, False)]


def test_a_rare_change_in_a_single_run_is_not_sure(answers, make_run):
    """One run may have its own reason; in each of three runs a fifth of the answers is no accident."""
    rare = _set(["total"], lambda total, seq: -1 if seq % 5 == 0 else total)
    (one,) = answers(rare).changes
    assert not one.sure
    before = [make_run(seed) for seed in (1, 2, 3)]
    each = compare_answers(before, [make_run(seed, rare) for seed in (4, 5, 6)])["GET /a"]
    assert [(one.path, one.sure) for one in each.changes] == [("$.total", True)]
    once = compare_answers(before, [make_run(4, rare), make_run(5), make_run(6)])["GET /a"]
    assert not once.different


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        (Rule(path="$.total", ignore=True), _set(["total"], 5)),
        (Rule(path="$.items[*]", ignore=True), _set(["items", 0, "sku"], 5)),
        (Rule(path="$.it*", endpoint="GET *", ignore=True), _without("items")),
        (Rule(path="$.items[*]", unordered=True), _set(["items"], lambda items, _: items[::-1])),
        (Rule(path="$.total", tolerance=(0.02, 0.0)), _set(["total"], lambda total, _: total * 1.01)),
        (Rule(path="$.*", tolerance=(0.0, 1.5)), _set(["total"], lambda total, _: total + 1)),
    ],
)
def test_rules_allow_what_they_name(answers, rule, change):
    """With the rule nothing is found, for another endpoint it is none of its business."""
    assert answers(change, [rule]).changes == ()
    assert answers(change, [replace(rule, endpoint="POST /b")]).different


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        (Rule(path="$.total", tolerance=(0.02, 0.0)), _set(["total"], lambda total, _: total * 1.05 + 1)),
        (Rule(path="$.items[*]", unordered=True), _set(["items", 0, "count"], 99)),
        (Rule(path="$.total", ignore=True), _without("name")),
        (Rule(path="$.total", tolerance=(0.5, 0.0)), _set(["total"], "1")),
    ],
)
def test_rules_allow_no_more_than_they_name(answers, rule, change):
    """A larger difference, another value in a reordered array, another field or type are still found."""
    assert answers(change, [rule]).different


def test_coded_bodies_are_decoded(answers):
    """A gzip body is compared by its fields."""
    import gzip

    found = answers(
        _without("name"), pack=lambda body: (gzip.compress(body), ((b"Content-Encoding", b"gzip"),))
    )
    assert [(one.path, one.change) for one in found.changes] == [("$.name", Change.MISSING)]


def test_a_body_that_is_no_json_is_compared_as_a_whole(answers):
    """Its kind and size stand for it; a body that is no JSON any more has changed its type."""
    found = answers(pack=lambda _: (b"<p>\xff</p>", ()))
    assert [(one.path, one.change) for one in found.changes] == [("$", Change.TYPE)]
    assert found.changes[0].examples[0].after == "application/json, 8 bytes"


def test_requests_are_joined_by_what_was_recorded(make_run, campaign):
    """Rows in another order, and runs that were cut short, pair the same requests."""
    before, after = make_run(1), make_run(2, count=COUNT // 2)
    found = compare_answers([before, make_run(3)], [after])["GET /a"]
    assert found.pairs == COUNT // 2
    assert found.changes == ()
    other = replace(after, header=replace(after.header, capture_id="d" * 32, schedule_hash="other"))
    assert compare_answers([before], [other]) == {}


def test_kept_answers_come_from_the_file(make_run, tmp_path):
    """What was written with a run is what is compared, however many answers there are."""
    for name, run in (("a", make_run(1, count=700)), ("b", make_run(2, _without("name"), count=700))):
        write_run(tmp_path / f"{name}.run", run)
    runs = [read_run(tmp_path / f"{name}.run") for name in "ab"]
    found = compare_answers(runs[:1], runs[1:])["GET /a"]
    assert found.bodies == 500  # evenly spread over the 700
    assert found.changes[0].examples[0].seq == 0
