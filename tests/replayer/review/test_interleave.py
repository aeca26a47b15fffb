"""Replays in turns: order, retries, state, budget, and going on after a stop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from captures.errors import HookreelError, UsageError
from replayer.results import Run, write_run
from replayer.review.interleave import ReviewPlan, open_folder, perform, stored_plan
from replayer.review.plan import Side
from replayer.review.sides import InvalidRunError


class Machine:
    """Stands in for targets, processes and time: a replay takes ten seconds and writes a run."""

    def __init__(self, campaign):
        self.now_s = 0.0
        self.events = []
        self.results = []  # exit codes of the next replays; 0 when empty
        self.before_code = 0
        self._campaign = campaign
        self._world = campaign.world(2, requests=60)

    def replay(self, words):
        """Write the run that is asked for, unless this one fails."""
        url, path = words[2], words[5]
        code = self.results.pop(0) if self.results else 0
        if code == "stop":
            raise KeyboardInterrupt
        self.events.append(("replay", url, tuple(words[6:])))
        self.now_s += 10.0
        if code in (1, 2):
            return code, "", "Error: it broke"
        run = self._campaign.simulate(self._world, len(self.events), started_s=int(self.now_s))
        reasons = ("It was late.",) if code == 4 else ()
        write_run(Path(path), Run(header=replace(run.header, invalid_reasons=reasons), rows=run.rows))
        said = {
            "sent": 120,
            "failed": 0,
            "duration_ns": 9 * 10**9,
            "send_lag_ns": {"p99": 1_000},
            "response_time_ns": {"p50": 10**7},
            "invalid_reasons": list(reasons),
        }
        return code, json.dumps(said), "it said nothing"

    def before(self, words):
        """Note the command."""
        self.events.append(("before", *words))
        return self.before_code

    def await_target(self, url):
        """Note that the target was waited for."""
        self.events.append(("await", url))

    def sleep(self, seconds):
        """Let time go by."""
        self.now_s += seconds

    def monotonic_s(self):
        """The time so far."""
        return self.now_s

    def replays(self):
        """Targets in the order they were replayed against."""
        return [event[1] for event in self.events if event[0] == "replay"]


_TARGETS = {Side.BASELINE: "http://a", Side.CANDIDATE: "http://b"}


@pytest.fixture
def machine(campaign):
    """A machine on which every replay is valid."""
    return Machine(campaign)


def _plan(**changes):
    values = {
        "capture": "safe.reel",
        "capture_id": "c" * 32,
        "targets": _TARGETS,
        "words": ("--speed=10x",),
        "pairs": 3,
        "seed": 5,
    }
    return ReviewPlan(**{**values, **changes})


def _perform(plan, folder, machine, **options):
    open_folder(folder, plan)
    said = []
    return perform(plan, folder, machine, said.append, **options), said


def test_every_pair_is_replayed_in_its_order_with_the_options(tmp_path, machine):
    """Six replays in the drawn order, each with the options, and all six runs are there to compare."""
    plan = _plan()
    outcome, said = _perform(plan, tmp_path / "r", machine)
    assert machine.replays() == [_TARGETS[turn.side] for turn in plan.turns]
    assert all(event[2] == ("--speed=10x",) for event in machine.events if event[0] == "replay")
    assert [named.name for named in outcome.baseline] == [f"{n:02d}-baseline.run" for n in (1, 2, 3)]
    assert len(outcome.candidate) == 3
    assert outcome.overheads_s == [1.0] * 6
    assert len(said) == 6


def test_state_is_restored_before_each_replay(tmp_path, machine):
    """The command runs first, with its side and target in place, then the target is waited for."""
    plan = _plan(before=("restart", "--only={side}", "{target}"))
    _perform(plan, tmp_path / "r", machine)
    assert machine.events[0::3] == [
        ("before", "restart", f"--only={t.side}", _TARGETS[t.side]) for t in plan.turns
    ]
    assert [event[0] for event in machine.events[:3]] == ["before", "await", "replay"]


def test_a_command_that_fails_ends_the_review(tmp_path, machine):
    """Replays against a target in an unknown state would prove nothing."""
    machine.before_code = 9
    with pytest.raises(HookreelError, match=r"exit code 9.*review\.log"):
        _perform(_plan(before=("restart",)), tmp_path / "r", machine)
    assert machine.replays() == []


def test_an_invalid_replay_is_repeated_with_its_state(tmp_path, machine):
    """Twice INVALID and then valid: the pair is whole, and each attempt began with the command."""
    machine.results = [4, 4, 0]
    outcome, said = _perform(_plan(before=("restart",)), tmp_path / "r", machine)
    assert len(machine.replays()) == 8
    assert sum(event[0] == "before" for event in machine.events) == 8
    assert sum("INVALID, It was late." in line for line in said) == 2
    assert all(named.run.valid for named in (*outcome.baseline, *outcome.candidate))


def test_three_invalid_replays_in_a_row_end_the_review(tmp_path, machine):
    """Exit code 4, and what was invalid is not kept."""
    machine.results = [4, 4, 4]
    with pytest.raises(InvalidRunError, match="go on"):
        _perform(_plan(), tmp_path / "r", machine)
    assert not list((tmp_path / "r").glob("*.run"))


def test_a_replay_that_fails_ends_the_review_with_its_error(tmp_path, machine):
    """The last thing it said is passed on."""
    machine.results = [0, 2]
    with pytest.raises(HookreelError, match="it broke"):
        _perform(_plan(), tmp_path / "r", machine)


def test_unexpected_answers_do_not_end_a_review(tmp_path, machine):
    """A replay that says no to --expect made a good run; the comparison judges it."""
    machine.results = [3] * 6
    outcome, _ = _perform(_plan(), tmp_path / "r", machine)
    assert len(outcome.baseline) == 3


@pytest.mark.parametrize("after", range(6))
def test_a_stopped_review_goes_on_where_it_was(tmp_path, machine, after):
    """Whole pairs are kept, a half one is made anew, and nothing is replayed twice otherwise."""
    machine.results = [0] * after + ["stop"]
    plan = _plan()
    with pytest.raises(KeyboardInterrupt):
        _perform(plan, tmp_path / "r", machine)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "r").glob("*.run")}
    machine.results, machine.events = [], []
    outcome, _ = _perform(plan, tmp_path / "r", machine)
    whole = after // 2
    assert len(machine.replays()) == 6 - 2 * whole
    for pair in range(1, whole + 1):
        for side in Side:
            name = f"{pair:02d}-{side}.run"
            assert (tmp_path / "r" / name).read_bytes() == kept[name]
    assert len(outcome.baseline) == len(outcome.candidate) == 3


def test_a_run_that_was_cut_is_made_again(tmp_path, machine):
    """A machine that died while a run was written leaves a damaged file."""
    plan = _plan()
    _perform(plan, tmp_path / "r", machine)
    damaged = tmp_path / "r" / "02-candidate.run"
    damaged.write_bytes(damaged.read_bytes()[:100])
    machine.events = []
    outcome, _ = _perform(plan, tmp_path / "r", machine)
    assert len(machine.replays()) == 2
    assert len(outcome.candidate) == 3


def test_a_finished_review_replays_nothing(tmp_path, machine):
    """The same command again compares what is there."""
    plan = _plan()
    _perform(plan, tmp_path / "r", machine)
    machine.events = []
    outcome, _ = _perform(plan, tmp_path / "r", machine)
    assert machine.events == []
    assert outcome.overheads_s == []


def test_a_spent_budget_ends_with_whole_pairs(tmp_path, machine):
    """Pairs of 20 seconds and a budget of 70: three, and a note says how many were meant."""
    outcome, _ = _perform(_plan(pairs=8), tmp_path / "r", machine, budget_s=70.0)
    assert len(outcome.baseline) == len(outcome.candidate) == 3
    assert "3 of 8 pairs" in outcome.notes[0]
    later, _ = _perform(_plan(pairs=8), tmp_path / "s", machine, budget_s=1.0)
    assert len(later.baseline) == 3  # fewer could not be tested at all


@pytest.mark.parametrize(
    "changes",
    [
        {"capture_id": "d" * 32},
        {"words": ("--speed=5x",)},
        {"pairs": 4},
        {"seed": 6},
        {"targets": {Side.BASELINE: "http://a", Side.CANDIDATE: "http://c"}},
        {"before": ("restart",)},
    ],
)
def test_another_review_does_not_go_on_in_the_same_folder(tmp_path, changes):
    """The setting that differs is named."""
    open_folder(tmp_path / "r", _plan())
    with pytest.raises(UsageError, match="other settings"):
        open_folder(tmp_path / "r", _plan(**changes))


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    """Nothing is written beside files that are not ours."""
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds no review"):
        open_folder(tmp_path / "r", _plan())
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["notes.txt"]


def test_of_the_users_command_only_its_first_word_is_kept(tmp_path):
    """The others may be secret; the seed stands there for whoever repeats the review."""
    open_folder(tmp_path / "r", _plan(before=("restart", "--token=hunter2")))
    assert "hunter2" not in (tmp_path / "r" / "review.json").read_text()
    stored = stored_plan(tmp_path / "r")
    assert stored is not None
    assert stored["seed"] == 5
    assert stored_plan(tmp_path / "absent") is None
