"""The page in a real browser: it draws, obeys its own policy, fits a phone, prints, and works by keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replayer.review.compare import compare
from replayer.review.report import page
from replayer.review.report.material import Material
from replayer.review.sides import NamedRun

pytestmark = pytest.mark.chromium

EVIL = '</script><script>alert(1)</script>"><img src=http://127.0.0.1:9/x onerror=alert(1)>'


@pytest.fixture(scope="module")
def material(campaign):
    """Three runs a side of eight endpoints, one of them slower."""
    quiet = campaign.world(8, requests=500)
    after = replace(quiet, factor={list(quiet.medians_ms)[3]: 2.0})
    sides = [
        tuple(
            NamedRun(
                name=f"{side}{at}.run", run=campaign.simulate(world, at * 2 + odd, started_s=at * 200 + odd)
            )
            for at in range(3)
        )
        for odd, (side, world) in enumerate((("b", quiet), ("c", after)))
    ]
    command = "hookreel diff " + "--baseline a-run-with-a-long-name.run " * 8
    return Material(comparison=compare(*sides), baseline=sides[0], candidate=sides[1], command=command)


@pytest.fixture
def opened(chromium, material, tmp_path):
    """The page in the browser; its complaints so far are forgotten."""
    path = tmp_path / "report.html"
    path.write_text(page.render(material), encoding="utf-8")
    chromium.said.clear()

    def show(**options):
        chromium.open(path, **options)
        return chromium

    return show


def test_it_draws_and_nobody_complains(opened):
    """The script runs under the page's own policy, draws both charts, and asks the network for nothing."""
    browser = opened()
    assert browser.ask("document.querySelectorAll('.uplot canvas').length") == 2
    assert browser.ask("getComputedStyle(document.querySelector('.still')).display") == "none"
    assert browser.ask("performance.getEntriesByType('resource').length") == 0
    assert browser.said == []


def test_the_script_cannot_reach_out(opened):
    """What traffic might smuggle in is stopped by the policy: no image, no script, no request."""
    browser = opened()
    browser.ask(
        "(i => { i.src = 'http://127.0.0.1:9/x'; document.body.append(i) })(document.createElement('img'))"
    )
    browser.ask(
        "(s => { s.text = 'window.ran = 1'; document.body.append(s) })(document.createElement('script'))"
    )
    assert browser.ask("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'stopped')") == "stopped"
    assert browser.ask("window.ran") is None
    assert sum("Content Security Policy" in one for one in browser.said) >= 3


def test_hostile_names_run_nothing(chromium, material, tmp_path):
    """A path that holds a script is text in the table, the charts and the list of endpoints."""
    first, *others = material.comparison.endpoints
    comparison = replace(
        material.comparison, endpoints=(replace(first, endpoint=EVIL, warnings=(EVIL,)), *others)
    )
    path = tmp_path / "evil.html"
    path.write_text(page.render(replace(material, comparison=comparison, command=EVIL)), encoding="utf-8")
    chromium.said.clear()
    chromium.open(path)
    assert chromium.said == []
    assert chromium.ask("document.images.length") == 0
    assert chromium.ask("document.scripts.length") == 2
    assert EVIL in chromium.ask("document.querySelector('tbody th.name + td') && document.body.innerText")


def test_the_list_changes_both_charts(opened):
    """Another endpoint's times are drawn when it is chosen."""
    browser = opened()
    label = "document.getElementById('live-times').getAttribute('aria-label')"
    assert "All requests" in browser.ask(label)
    browser.ask("(() => { pick.selectedIndex = 1; pick.dispatchEvent(new Event('change')) })()")
    assert "GET /api/e03/{id}" in browser.ask(label)
    assert browser.ask("document.querySelectorAll('.uplot').length") == 2
    assert browser.said == []


def test_arrow_keys_move_along_a_chart(opened):
    """A chart that has the focus shows the figures of the next step at each arrow key, in both charts."""
    browser = opened()
    values = "[...document.querySelectorAll('#live-{} .u-value')].map(one => one.textContent)"
    browser.ask("document.getElementById('live-times').focus()")
    browser.press("ArrowRight")
    first = browser.ask(values.format("times"))
    assert first[0] == "0 s"
    assert first[1].endswith(" ms")
    browser.press("ArrowRight")
    assert browser.ask(values.format("times"))[0] != "0 s"
    assert browser.ask(values.format("load"))[0] == browser.ask(values.format("times"))[0]


@pytest.mark.parametrize("width", [320, 390, 768, 1300])
def test_nothing_sticks_out_at_any_width(opened, width):
    """On a phone tables and charts scroll inside their boxes, never the page."""
    browser = opened(width=width)
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask("document.querySelector('.uplot').getBoundingClientRect().right") <= width


@pytest.mark.parametrize("width", [390, 1300])
def test_no_name_is_too_long_for_the_page(chromium, campaign, tmp_path, width):
    """Paths of 5,000 characters without a place to break stay inside, also above the charts."""
    quiet = campaign.World(medians_ms={f"GET /{'x' * 5_000}/{at}": 10.0 for at in range(3)}, requests=60)
    runs = [(NamedRun(name="a.run", run=campaign.simulate(quiet, at)),) for at in (1, 2)]
    material = Material(comparison=compare(*runs), baseline=runs[0], candidate=runs[1], command="hookreel")
    path = tmp_path / "long.html"
    path.write_text(page.render(material), encoding="utf-8")
    chromium.open(path, width=width)
    assert chromium.ask("document.querySelectorAll('figcaption').length") > 4
    assert chromium.ask("document.documentElement.scrollWidth") <= width


def test_segments_of_a_path_stand_in_their_order_whatever_their_script(chromium, campaign, tmp_path):
    """What follows a word written from right to left stands right of it, in tables, headings and charts."""
    quiet = campaign.World(medians_ms={f"GET /שלום/{at}": 10.0 for at in (123, 456)}, requests=60)
    runs = [(NamedRun(name="a.run", run=campaign.simulate(quiet, at)),) for at in (1, 2)]
    material = Material(comparison=compare(*runs), baseline=runs[0], candidate=runs[1], command="hookreel")
    path = tmp_path / "right.html"
    path.write_text(page.render(material), encoding="utf-8")
    chromium.open(path)
    places = chromium.ask(_PLACES)
    assert {tag for tag, *_ in places} == {"th", "span", "text"}
    for tag, word_left, word_right, figures_left in places:
        assert 0 < word_right - word_left < 60, tag
        assert -1 < figures_left - word_right < 15, tag


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_light_and_dark(opened, dark):
    """Every text has a contrast of at least 4.5 to 1 with what is behind it (WCAG AA)."""
    browser = opened(dark=dark)
    worst = browser.ask(_CONTRAST)
    assert worst["ratio"] >= 4.5, worst


def test_it_prints_with_the_still_charts(opened):
    """Paper gets the drawn charts, neither the list nor the moving ones, and all of it."""
    browser = opened()
    browser.media(kind="print")
    shown = "getComputedStyle(document.querySelector('{}')).display"
    assert browser.ask(shown.format(".still")) == "block"
    assert browser.ask(shown.format(".live")) == "none"
    assert browser.ask(shown.format("nav")) == "none"
    assert len(browser.call("Page.printToPDF", printBackground=True)["data"]) > 20_000


def test_a_screen_reader_gets_names_for_everything(opened):
    """Each region, chart, list and heading has a name in the accessibility tree."""
    nodes = opened().call("Accessibility.getFullAXTree")["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]
    roles = {role for role, _ in named}
    assert {
        "banner",
        "navigation",
        "main",
        "contentinfo",
        "table",
        "columnheader",
        "rowheader",
        "image",
    } <= roles
    needing = {"region", "image", "heading", "combobox", "link", "group", "navigation"}
    assert [(role, name) for role, name in named if role in needing and not name.strip()] == []


_CONTRAST = """(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const part = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  let worst = { ratio: 99 };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    const said = walker.currentNode.textContent.trim();
    if (!said || !one.getClientRects().length || one.closest('script')) continue;
    const style = getComputedStyle(one);
    const ink = parse(one.closest('svg') ? style.fill : style.color);
    let behind = one;
    const back = (of) => parse(getComputedStyle(of).backgroundColor);
    while (behind && (back(behind)[3] ?? 1) === 0) behind = behind.parentElement;
    const pair = [light(ink), light(back(behind ?? document.body))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < worst.ratio) worst = { ratio, said: said.slice(0, 40), ink: style.color };
  }
  return worst;
})()"""


_PLACES = """[...document.querySelectorAll('bdi, tspan')].filter((one) => one.getClientRects().length).map(
(one) => {
  const range = document.createRange();
  range.setStart(one.nextSibling, 1);
  range.setEnd(one.nextSibling, 4);
  const word = one.getBoundingClientRect();
  return [one.parentElement.localName, word.left, word.right, range.getBoundingClientRect().left];
})"""
