"""What reviews learn about noise, and how they keep it."""

from __future__ import annotations

import json
import stat
from dataclasses import replace

import numpy as np
import pytest

from captures.errors import CaptureError, CaptureVersionError, FileKindError
from replayer.review.ledger import Entry, Noise, add_entry, floors, learn, observe, overhead_s, read_ledger
from replayer.review.plan import floor_rows, prospect


@pytest.fixture(scope="module")
def observed(campaign):
    """What two reviews of eight pairs saw; requests in a run, and the sd between runs, are known."""
    world = campaign.world(12, requests=400, endpoint_run_sd=0.05, drift_sd=0.0)
    return [
        observe(campaign.side(world, 8, seed), campaign.side(world, 8, seed + 50, started_s=60))
        for seed in (1, 2)
    ]


def _entry(seen=(), **changes):
    values = {"capture": "c" * 32, "load": "10x", "host": "h", "made_wall_ns": 1, "overhead_s": 2.0}
    return Entry(**{**values, **changes}, seen=tuple(seen))


def test_both_parts_of_the_noise_are_found_again(observed):
    """5 % between runs and a request's own 0.35 are told apart, whatever the release did."""
    noise = learn([_entry(seen) for seen in observed], "c" * 32, "10x", "h")
    p50 = [found for (_, quantile), found in noise.items() if quantile == 0.5]
    assert len(p50) == 12
    between = np.mean([found.between for found in p50])
    within = np.mean([found.within for found in p50])
    assert between == pytest.approx(2 * 0.05**2, rel=0.3)
    assert within == pytest.approx(2 * 1.57 * 0.35**2, rel=0.3)
    assert all(found.df == 14 for found in p50)


def test_a_release_that_is_slower_is_no_noise(campaign):
    """A change that meets all pairs alike leaves what is learned as it was."""
    quiet = campaign.world(3, requests=200)
    slow = replace(quiet, factor=dict.fromkeys(quiet.medians_ms, 3.0))
    before = campaign.side(quiet, 4, 5)
    same = observe(before, campaign.side(quiet, 4, 6, started_s=60))
    slower = observe(before, campaign.side(slow, 4, 6, started_s=60))
    for one, other in zip(same, slower, strict=True):
        assert other.squares == pytest.approx(one.squares, rel=0.01)


def test_what_moves_all_endpoints_is_no_noise_of_theirs(campaign):
    """A comparison takes it off, so that a plan must not ask for more pairs because of it."""
    world = campaign.world(8, requests=100)
    calm, shaky = (
        observe(campaign.side(one, 6, 5), campaign.side(one, 6, 6, started_s=60))
        for one in (world, replace(world, run_sd=0.3))
    )
    totals = [sum(seen.squares for seen in found if seen.quantile == 0.5) for found in (calm, shaky)]
    assert totals[1] == pytest.approx(totals[0], rel=0.5)


def test_unpaired_or_few_runs_teach_nothing(campaign):
    """Two pairs show no scatter, and unequal sides are no pairs."""
    runs = campaign.side(campaign.world(2, requests=50), 4, 1)
    assert observe(runs[:2], runs[2:]) == ()
    assert observe(runs[:3], runs[3:]) == ()


def test_only_like_reviews_are_learned_from(observed):
    """Another capture, load or machine says nothing."""
    entries = [
        _entry(observed[0], capture="d" * 32),
        _entry(observed[0], load="1x"),
        _entry(observed[0], host="i"),
    ]
    assert learn(entries, "c" * 32, "10x", "h") == {}
    assert overhead_s([_entry(overhead_s=3.0), *entries], "c" * 32, "h") == 2.0
    assert overhead_s([], "c" * 32, "h") is None


def test_longer_replays_and_more_pairs_lower_the_floor():
    """The floor shrinks with both, but no length gets below the noise between runs."""
    noise = Noise(between=0.0018, within=0.8, df=14)
    assert noise.floor(8, 1_000) < noise.floor(8, 100)
    assert noise.floor(16, 100) < noise.floor(8, 100)
    assert noise.floor(8, 1e12) == pytest.approx(1.96 * (0.0018 / 8) ** 0.5, rel=0.01)


def test_floors_are_of_what_is_known_and_will_be_sent():
    """An endpoint that no replay sends has no floor, nor has one that no review has seen."""
    noise = Noise(between=0.0018, within=0.8, df=14)
    known = {("GET /a", 0.5): noise, ("GET /gone", 0.5): noise}
    assert floors(known, 8, {"GET /a": 100.0, "GET /new": 100.0}) == {("GET /a", 0.5): noise.floor(8, 100)}


def test_the_pairs_for_a_change_are_the_fewest():
    """One pair fewer would not find it."""
    noise = Noise(between=0.004, within=0.5, df=14)
    pairs = noise.pairs_for(1.10, 500, 10)
    assert pairs is not None
    assert noise.detectable(pairs, 500, 10) <= np.log(1.10) < noise.detectable(pairs - 1, 500, 10)


def test_a_ledger_is_kept_privately_and_read_again(tmp_path, observed):
    """Entries come back as they were, oldest first, in a file of mode 0600."""
    path = tmp_path / "safe.reel.noise"
    assert read_ledger(path) == ()
    entries = [_entry(observed[0]), _entry(observed[1], made_wall_ns=2)]
    for entry in entries:
        add_entry(path, entry)
    assert list(read_ledger(path)) == entries
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_ledger_keeps_the_latest_two_hundred(tmp_path):
    """It does not grow for ever."""
    path = tmp_path / "n"
    add_entry(path, _entry())
    values = json.loads(path.read_text())
    values["entries"] = values["entries"] * 200
    path.write_text(json.dumps(values))
    add_entry(path, _entry(made_wall_ns=7))
    entries = read_ledger(path)
    assert len(entries) == 200
    assert entries[-1].made_wall_ns == 7


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", CaptureError),
        ("[]", FileKindError),
        ('{"kind": "hookreel review", "format": 1}', FileKindError),
        ('{"kind": "hookreel noise ledger", "format": 0}', CaptureError),
        ('{"kind": "hookreel noise ledger", "format": 99}', CaptureVersionError),
        ('{"kind": "hookreel noise ledger", "format": 1}', CaptureError),
        ('{"kind": "hookreel noise ledger", "format": 1, "entries": [{"seen": [{}]}]}', CaptureError),
        ('{"kind": "hookreel noise ledger", "format": 1, "entries": [3]}', CaptureError),
    ],
)
def test_a_damaged_or_foreign_ledger_is_refused(tmp_path, text, error):
    """In one sentence, and never with anything but an error of ours."""
    path = tmp_path / "n"
    path.write_text(text)
    with pytest.raises(error):
        read_ledger(path)


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        ("entry", "overhead_s", "9"),
        ("entry", "overhead_s", None),
        ("entry", "overhead_s", float("nan")),
        ("entry", "overhead_s", -1),
        ("entry", "made_wall_ns", "now"),
        ("entry", "host", 3),
        ("seen", "endpoint", 3),
        ("seen", "endpoint", []),
        ("seen", "squares", 10**400),
        ("seen", "squares", "1"),
        ("seen", "within", float("inf")),
        ("seen", "within", -1.0),
        ("seen", "requests", 10**400),
        ("seen", "requests", 0),
        ("seen", "requests", True),
        ("seen", "pairs", 2.5),
        ("seen", "pairs", 10**30),
        ("seen", "pairs", 1),
        ("seen", "quantile", "0.5"),
    ],
)
def test_a_number_that_cannot_be_reckoned_with_is_damage(tmp_path, observed, where, name, value):
    """A text for a number, one of any length, NaN, infinity, or less than there can be."""
    path = tmp_path / "n"
    add_entry(path, _entry(observed[0]))
    values = json.loads(path.read_text())
    entry = values["entries"][0]
    (entry if where == "entry" else entry["seen"][0])[name] = value
    path.write_text(json.dumps(values))
    with pytest.raises(CaptureError, match="is damaged; remove it"):
        read_ledger(path)


def test_noise_beyond_all_measure_still_makes_a_plan(tmp_path, observed):
    """What no endpoint does, a file may say; ratios made of it stay numbers."""
    absurd = [replace(seen, squares=9e11, within=9e11) for seen in observed[0]]
    add_entry(tmp_path / "n", _entry(absurd))
    noise = learn(read_ledger(tmp_path / "n"), "c" * 32, "10x", "h")
    requests = {label: 20.0 for label, _ in noise}
    assert "%" in prospect(requests, noise, 3).text
    assert all(row[2] == "> 1000" for row in floor_rows(requests, noise, 3))
