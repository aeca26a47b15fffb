"""Pairs of answers: what is done once for a place, or once for a run, is not done for each of many."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from replayer.kept import KeptResponse, KeptResponses
from replayer.review import noise_pairs
from replayer.review.answers import Change, Part
from replayer.review.bodies import Leniency
from replayer.review.noise_pairs import Place, tally_answers

ENDPOINTS = 20


@pytest.fixture
def make_run(campaign):
    """A run of twenty endpoints that keeps an answer of each, ``body`` as JSON."""

    def make(body, seed):
        count = np.arange(ENDPOINTS)
        made = campaign.make_run(
            tuple(f"GET /e{at}" for at in count), count, count * 1_000_000, np.full(ENDPOINTS, 1e6),
            np.full(ENDPOINTS, 200), run_id=f"{seed:032x}",
        )  # fmt: skip
        headers = ((b"Content-Type", b"application/json"),)
        data = json.dumps(body).encode()
        kept = [KeptResponse(row=int(row), headers=headers, body=data) for row in count]
        return replace(made, kept=KeptResponses.of(kept))

    return make


def test_only_the_first_value_of_an_array_is_made_fit_to_show(make_run, monkeypatch):
    """A thousand elements that differ are one place with one example."""
    calls = Counter()
    monkeypatch.setattr(noise_pairs, "shown", lambda value, path: calls.update([path]) or str(value))
    before, after = make_run(["a"] * 1_000, 1), make_run(["b"] * 1_000, 2)
    tally = tally_answers([(before, after)], lambda _label: Leniency())["GET /e0"]
    place = Place(Part.BODY, "$[*]", Change.VALUE)
    assert tally.places == {place: 1}
    assert [(one.before, one.after) for one in tally.examples[place]] == [("a", "b")]
    assert calls == {"$[*]": 2 * ENDPOINTS}


def test_which_answers_were_kept_is_asked_once_a_pair(make_run, monkeypatch):
    """However many endpoints there are, the kept rows of each side are gone through once."""
    asked = []
    rows_of = KeptResponses.__iter__
    monkeypatch.setattr(KeptResponses, "__iter__", lambda kept: asked.append(kept) or rows_of(kept))
    runs = [make_run([1], seed) for seed in (1, 2, 3)]
    asked.clear()
    tallies = tally_answers([(runs[0], runs[1]), (runs[1], runs[2])], lambda _label: Leniency())
    assert [tally.bodies for tally in tallies.values()] == [2] * ENDPOINTS
    assert len(asked) == 4


def test_runs_without_kept_answers_are_compared_by_their_statuses(make_run):
    """One of the two sides kept none."""
    before, after = make_run([1], 1), replace(make_run([1], 2), kept=KeptResponses())
    tally = tally_answers([(before, after)], lambda _label: Leniency())["GET /e0"]
    assert (tally.pairs, tally.compared, tally.bodies) == (1, 0, 0)
