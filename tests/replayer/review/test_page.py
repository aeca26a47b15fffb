"""The page: whole, bounded, safe to open, and it reads well without a mouse, a script or a screen."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replayer.host import HostFacts
from replayer.review.answers import AnswerChange, Change, EndpointAnswers, Example, MaskedPlace, Part
from replayer.review.compare import compare
from replayer.review.report import page
from replayer.review.report.material import Material
from replayer.review.sides import NamedRun
from replayer.review.verdict import Verdict

EVIL = '</script><script>alert(1)</script>"><img src=http://evil.example/x onerror=alert(1)>\x1b[31m\u202e'
TAGS = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "h1", "span", "nav", "ul", "li",
    "main", "section", "h2", "h3", "div", "table", "thead", "tr", "th", "td", "tbody", "figure",
    "figcaption", "svg", "g", "rect", "line", "path", "circle", "text", "p", "label", "select",
    "option", "details", "summary", "dl", "dt", "dd", "pre", "code", "br", "footer", "script", "bdi",
    "tspan",
}  # fmt: skip


class Page(HTMLParser):
    """Every tag with its attributes, the text, and whether all were closed in order."""

    VOID = frozenset({"meta", "br", "rect", "line", "path", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        (self.scripts if inside in {"script", "style"} else self.text).append(data)

    def with_tag(self, wanted: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == wanted]


@pytest.fixture(scope="module")
def material(campaign):
    """Four runs a side of six endpoints: one slower, one that answers 503, one with another body."""
    quiet = campaign.world(6, requests=400)
    names = list(quiet.medians_ms)
    after = replace(quiet, factor={names[3]: 3.0}, statuses={names[1]: (503, 0.2, 1.0)})
    sides = [
        tuple(
            NamedRun(
                name=f"{side}{at}.run", run=campaign.simulate(world, at * 2 + odd, started_s=at * 200 + odd)
            )
            for at in range(4)
        )
        for odd, (side, world) in enumerate((("base", quiet), ("cand", after)))
    ]
    comparison = compare(*sides)
    changed = AnswerChange(
        part=Part.BODY, path="$.total", change=Change.TYPE, changed=40, compared=40, p=1e-9, sure=True,
        examples=(Example(seq=3, before="12", after='"12"'),),
    )  # fmt: skip
    answers = EndpointAnswers(
        pairs=40, bodies=40, noise_pairs=120, changes=(changed,),
        masked=(MaskedPlace(part=Part.BODY, path="$.at", reason="differs in 120 of 120 pairs"),),
    )  # fmt: skip
    first, *others = comparison.endpoints
    comparison = replace(comparison, endpoints=(replace(first, answers=answers), *others))
    return Material(comparison=comparison, baseline=sides[0], candidate=sides[1], command="hookreel diff a b")


@pytest.fixture(scope="module")
def found(material):
    """The page, parsed."""
    return Page(page.render(material))


def test_the_page_is_well_formed_and_holds_every_section(found):
    """All tags are closed in order, and each thing a reviewer asks for has its heading."""
    assert found.open == []
    text = " ".join(found.text)
    for said in (
        "BEHAVES DIFFERENTLY", "Validity", "Endpoints, worst first", "Change of response times",
        "Response time by percentile", "Over the run", "Statuses and failures", "Answers",
        "How sure", "What next", "Provenance", "hookreel diff a b", "base0.run", "$.total", "changed type",
        "40 of 40", "differs in 120 of 120 pairs",
    ):  # fmt: skip
        assert said in text, said


def test_endpoints_stand_in_order_of_harm(found):
    """The different one comes first, then the slower one."""
    rows = [attributes.get("class") for attributes in found.with_tag("span")]
    assert rows[0] == "badge bad"
    text = found.text[found.text.index("Endpoints, worst first", 20) :]
    verdicts = [word for word in text if word in {"BEHAVES DIFFERENTLY", "SLOWER", "INCONCLUSIVE"}]
    assert verdicts[:2] == ["BEHAVES DIFFERENTLY", "SLOWER"]


def test_nothing_is_loaded_and_only_our_own_script_runs(material, found):
    """The policy names style and script by their hashes and allows nothing else."""
    text = page.render(material)
    assert {tag for tag, _ in found.tags} <= TAGS
    for _, attributes in found.tags:
        assert not {"style", "src", "action"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    assert all(link["href"].startswith("#") for link in found.with_tag("a"))
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, script)]
    policy = next(
        one["content"] for one in found.with_tag("meta") if "content" in one and "http-equiv" in one
    )
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}';"
        " base-uri 'none'; form-action 'none'"
    )
    assert "Permission is hereby granted" in script


def test_names_from_runs_stay_text(material):
    """Whatever an endpoint, file, target, load, command or body is called, it adds no tag."""
    comparison = material.comparison
    evil_run = replace(comparison.baseline[0], name=EVIL, target=EVIL, speed=EVIL, notes=(EVIL,))
    change = AnswerChange(
        part=Part.HEADER, path=EVIL, change=Change.VALUE, changed=1, compared=1, p=1.0, sure=False,
        examples=(Example(seq=1, before=EVIL, after=EVIL),),
    )  # fmt: skip
    answers = EndpointAnswers(
        pairs=1, bodies=1, noise_pairs=1, changes=(change,),
        masked=(MaskedPlace(part=Part.BODY, path=EVIL, reason=EVIL),),
    )  # fmt: skip
    endpoint = comparison.endpoints[0]
    mix = replace(endpoint.statuses, baseline={EVIL: 4}, candidate={EVIL: 3}, changed=(EVIL,))
    evil = replace(
        comparison,
        endpoints=(
            replace(endpoint, endpoint=EVIL, warnings=(EVIL,), advice=EVIL, answers=answers, statuses=mix),
        ),
        baseline=(evil_run,),
        warnings=(EVIL,),
    )
    named = material.baseline[0]
    header = replace(named.run.header, load=EVIL, tool=EVIL, capture_id=EVIL, schedule_hash=EVIL, run_id=EVIL)
    runs = (NamedRun(name=EVIL, run=replace(named.run, header=header)),)
    text = page.render(Material(comparison=evil, baseline=runs, candidate=runs, command=EVIL))
    again = Page(text)
    assert again.open == []
    assert {tag for tag, _ in again.tags} <= TAGS
    assert len(again.with_tag("script")) == 2
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert any("evil.example" in part for part in again.text)


@settings(max_examples=50)
@given(text=st.text(max_size=80))
def test_no_text_breaks_out_of_the_page(material, text):
    """A property over any text, as an endpoint's name and as an example of a body."""
    endpoint = material.comparison.endpoints[0]
    example = Example(seq=1, before=text, after=text)
    change = AnswerChange(
        part=Part.BODY, path=text, change=Change.VALUE, changed=1, compared=1, p=1.0, sure=True,
        examples=(example,),
    )  # fmt: skip
    answers = EndpointAnswers(pairs=1, bodies=1, noise_pairs=0, changes=(change,))
    comparison = replace(material.comparison, endpoints=(replace(endpoint, endpoint=text, answers=answers),))
    quiet = replace(material, comparison=comparison)
    assert Page(page.render(quiet)).open == []
    calm = replace(answers, changes=(replace(change, path="$.a", examples=(replace(example, before="x"),)),))
    plain = replace(comparison, endpoints=(replace(endpoint, endpoint="GET /a", answers=calm),))
    tags, plain_tags = (
        [tag for tag, _ in Page(page.render(one)).tags if tag not in {"bdi", "tspan"}]
        for one in (quiet, replace(material, comparison=plain))
    )
    assert tags == plain_tags


def test_the_chart_data_is_what_the_script_reads(material, found):
    """The script gets a series per side with a value or null for each step, of all requests first."""
    curves = json.loads(found.scripts[1])
    assert curves[0]["name"] == "All requests"
    assert len(curves) == 7
    for one in curves:
        for side in ("b", "c"):
            assert {len(values) for values in one[side].values()} == {len(one["at"])}
    everything = curves[0]
    assert sum(value is not None for value in everything["b"]["p50"]) == len(everything["at"])
    assert sum(everything["b"]["offered"]) > 0
    assert sum(everything["b"]["failed"]) == 0
    assert sum(everything["c"]["failed"]) > 0


def test_stages_stand_in_the_charts_over_the_run(material):
    """A run of several loads says where each begins, in the drawn chart and to the script."""
    runs = [
        tuple(
            replace(
                named,
                run=replace(
                    named.run, header=replace(named.run.header, speed="1x:20s,5x:20s,ramp 5x-9x:20s")
                ),
            )
            for named in side
        )
        for side in (material.baseline, material.candidate)
    ]
    found = Page(page.render(replace(material, baseline=runs[0], candidate=runs[1])))
    starts = json.loads(found.scripts[1])[0]["stages"]
    assert [round(start) for _, start in starts] == [0, 20, 40]
    assert sum(one.get("class") == "grid stage" for one in found.with_tag("line")) == 6
    assert starts[1][0] in found.text


def test_every_machine_and_load_is_named(material):
    """Neither the second machine nor the last stage is lost at the end of a long line."""
    named = material.candidate[0]
    host = HostFacts(cpu_model="Processor " + "y" * 90, cores=8, kernel="Linux 6.1", python="3.13")
    header = replace(named.run.header, host=host, load="1x for 20 s, " * 20 + "then 9x")
    last = replace(named, run=replace(named.run, header=header))
    text = page.render(replace(material, candidate=(*material.candidate[1:], last)))
    assert "y x 8; Linux 6.1; Python 3.13" in text
    assert "then 9x" in text.partition("Offered: ")[2].partition("</p>")[0]


def test_a_reader_without_a_mouse_or_screen_finds_the_way(found):
    """Landmarks, one first heading, labelled charts, headed tables, and regions that a key can scroll."""
    for landmark in ("header", "nav", "main", "footer"):
        assert len(found.with_tag(landmark)) == 1
    assert len(found.with_tag("h1")) == 1
    assert found.with_tag("html")[0]["lang"] == "en"
    ids = {attributes["id"] for _, attributes in found.tags if "id" in attributes}
    for section in found.with_tag("section"):
        assert section["aria-labelledby"] in ids
    assert {link["href"][1:] for link in found.with_tag("a")} <= ids
    for chart in found.with_tag("svg"):
        assert chart["role"] == "img"
        assert chart["aria-label"]
    for head in found.with_tag("th"):
        assert head["scope"] in {"row", "col"}
    for region in (one for one in found.with_tag("div") if one.get("class") == "scroll"):
        assert (region["role"], region["tabindex"]) == ("region", "0")
        assert region["aria-label"]
    numbers = [each for tag, each in found.tags if tag in {"rect", "line", "path", "circle", "text"}]
    assert "nan" not in " ".join(value for each in numbers for value in each.values() if value)


def test_the_page_stays_within_its_budget_and_says_what_it_left_out(campaign):
    """Two thousand endpoints with long names fit into 400 kB; the rest is counted."""
    labels = tuple(f"GET /{at}/{'é' * 250}" for at in range(2_000))
    endpoint = np.tile(np.arange(2_000), 4)
    due = np.arange(8_000) * 1_000_000
    status = np.tile([200, 404], 4_000)

    def run(at):
        times = np.random.default_rng(at).lognormal(16.5, 0.2, 8_000)
        made = campaign.make_run(labels, endpoint, due, times, status, run_id=f"{at:032x}")
        return (NamedRun(name="a.run", run=made),)

    before, after = run(1), run(2)
    made = Material(
        comparison=compare(before, after), baseline=before, candidate=after, command="x" * 100_000
    )
    text = page.render(made)
    assert 200_000 < len(text.encode()) <= page.MAX_BYTES
    assert Page(text).open == []
    assert re.search(r"1,\d\d\d more rows; the JSON report has them all", text)


def _with_answers(material, answers, labels=()):
    """The material with these answers at each endpoint, and with names of our own."""
    endpoints = [replace(endpoint, answers=answers) for endpoint in material.comparison.endpoints]
    for at, label in enumerate(labels):
        endpoints[at] = replace(endpoints[at], endpoint=label)
    return replace(material, comparison=replace(material.comparison, endpoints=tuple(endpoints)))


def _changes(count, path="$.data.items[*].attributes.field_number_{}"):
    example = Example(seq=3, before="12", after='"12"')
    return tuple(
        AnswerChange(
            part=Part.BODY, path=path.format(at), change=Change.TYPE, changed=40, compared=40, p=1e-9,
            sure=True, examples=(example,),
        )
        for at in range(count)
    )  # fmt: skip


def _masked(count):
    reason = "changed in 120 of 120 pairs within the baseline"
    return tuple(
        MaskedPlace(part=Part.BODY, path=f"$.data.items[*].attributes.field_number_{at}", reason=reason)
        for at in range(count)
    )


@pytest.mark.parametrize(("changed", "masked"), [(0, 45), (50, 45), (50, 0)])
def test_answers_never_cost_the_table_of_endpoints(material, changed, masked):
    """Eighty endpoints with long lists of places keep a row each, and the page its budget."""
    answers = EndpointAnswers(
        pairs=40, bodies=40, noise_pairs=120, changes=_changes(changed), masked=_masked(masked)
    )
    first = material.comparison.endpoints[0]
    many = tuple(replace(first, endpoint=f"GET /api/v1/tenants/{{id}}/resource{at}") for at in range(80))
    text = page.render(
        _with_answers(replace(material, comparison=replace(material.comparison, endpoints=many)), answers)
    )
    assert len(text.encode()) <= page.MAX_BYTES
    sections = {part.partition('"')[0]: part for part in text.split('<section aria-labelledby="')[1:]}
    assert sections["endpoints"].count('<th scope="row"') == 80
    assert "more rows" not in sections["endpoints"]
    assert "more rows" not in sections["errors"]
    tables, lists = (sections["answers"].count(part) for part in ("<table>", "<details "))
    assert tables + lists >= 15
    assert lists == 0 or tables == (80 if changed else 0)


def test_what_was_not_compared_stands_after_all_that_changed_and_is_cut_short(material):
    """Ten masked places an endpoint, the others counted, behind the changed answers of every endpoint."""
    answers = EndpointAnswers(
        pairs=40, bodies=40, noise_pairs=120, changes=_changes(2), masked=_masked(45), left_out=7
    )
    text = page.render(_with_answers(material, answers))
    section = text.partition('aria-labelledby="answers"')[2].partition("</section>")[0]
    assert section.rindex("<table>") < section.index("not compared")
    assert section.count("<table>") == section.count("<details ") == len(material.comparison.endpoints)
    assert section.count("<li>and 35 more</li>") == len(material.comparison.endpoints)
    assert section.count("7 more places not listed.") == len(material.comparison.endpoints)
    alone = page.render(_with_answers(material, replace(answers, changes=())))
    assert alone.count("7 more places not listed.") == len(material.comparison.endpoints)


def test_a_very_long_name_hides_no_finding(material):
    """Paths of 5,000 characters are cut in the middle, so what happened there is still said."""
    answers = EndpointAnswers(pairs=40, bodies=40, noise_pairs=120, changes=_changes(1, "$." + "k" * 5_000))
    label = f"GET /{'x' * 5_000}?last=part"
    long = _with_answers(material, answers, [label, f"POST /{'é' * 5_000}"])
    text = page.render(long)
    heading = re.search(r"<h1>(.*?)</h1>", text)[1]
    assert "xx...xx" in heading
    assert "last=part answers 503" in heading
    assert re.search(
        r'<span class="note">Body \$\.k+\.\.\.k+ changed type in 40 of 40 answers\.</span>', text
    )
    assert not re.search(r"[xké]{200}", text)


def test_words_written_from_right_to_left_keep_to_their_place(material):
    """They are isolated in headings, lists, tables and charts."""
    answers = EndpointAnswers(pairs=40, bodies=40, noise_pairs=0, changes=_changes(1), masked=_masked(3))
    text = page.render(_with_answers(material, answers, ["GET /مرحبا/123"]))
    for after in ("</h3>", ": 3 places not compared</summary>", "<span class=", " answers 503"):
        assert f"GET /<bdi>مرحبا</bdi>/123{after}" in text
    assert "GET /<tspan>مرحبا</tspan>/123</text>" in text
    assert 'aria-label="Changed answers of GET /مرحبا/123"' in text


def test_an_invalid_comparison_shows_why_and_no_figures(material):
    """Nothing that could be mistaken for a result stands on the page of runs that prove nothing."""
    bad = replace(material.comparison.candidate[0], invalid_reasons=("The lag was 9 ms.",))
    refused = replace(material.comparison, verdict=Verdict.INVALID, endpoints=(), candidate=(bad,))
    found = Page(page.render(replace(material, comparison=refused)))
    assert found.open == []
    assert found.with_tag("svg") == []
    assert any("The lag was 9 ms." in part for part in found.text)


def test_a_comparison_of_nothing_has_a_page(campaign):
    """Endpoints without a figure leave charts out, not the page."""
    tiny = campaign.world(1, requests=2)
    runs = [(NamedRun(name="a.run", run=campaign.simulate(tiny, at)),) for at in (1, 2)]
    text = page.render(
        Material(comparison=compare(*runs), baseline=runs[0], candidate=runs[1], command="hookreel diff")
    )
    assert Page(text).open == []
    assert "INCONCLUSIVE" in text


def test_the_page_repeats_byte_for_byte(material):
    """Nothing of the moment it was made stands in it."""
    assert page.render(material) == page.render(material)
