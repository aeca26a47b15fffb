"""Saved baselines: what is kept, what is refused, and what is compared all the same."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from captures.errors import CaptureError, CaptureVersionError, FileKindError, UsageError
from replayer.host import HostFacts
from replayer.results import Run, read_run, write_run
from replayer.review import baselines
from replayer.review.baselines import Unlike
from replayer.review.sides import InvalidRunError, NamedRun

HOST = HostFacts(cpu_model="AMD EPYC", cores=2, kernel="Linux 6.18.3", python="3.13.5")


@pytest.fixture
def make(campaign, tmp_path):
    """Write a run of a small world; header fields may be changed."""
    world = campaign.world(2, requests=60)

    def build(number, **header):
        run = campaign.simulate(world, number, started_s=number * 100)
        path = tmp_path / f"{number}-{len(list(tmp_path.glob('*.run')))}.run"
        write_run(path, Run(header=replace(run.header, **header), rows=run.rows))
        return path

    return build


@pytest.fixture
def store(tmp_path):
    """Where baselines go; not there yet."""
    return tmp_path / "baselines"


def _save(store, paths, name="main", **options):
    return baselines.save(store, name, paths, commit="4f2a1c", host=HOST, now_wall_ns=7, **options)


def _named(path):
    return NamedRun(name=str(path), run=read_run(path))


def test_a_baseline_comes_back_as_it_was_saved(make, store):
    """Description and runs, in the order given; nothing else lies in the store."""
    paths = [make(number) for number in (1, 2)]
    saved = _save(store, paths)
    assert baselines.load(store, "main") == saved
    assert (saved.commit, saved.speed, saved.host, len(saved.runs)) == ("4f2a1c", "10x", HOST, 2)
    runs = baselines.load_runs(store, saved)
    assert [named.run.header.run_id for named in runs] == [run.run_id for run in saved.runs]
    assert [path.name for path in store.iterdir()] == ["main"]
    assert baselines.everything(store) == [saved]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (store / "main").iterdir())


def test_a_store_may_be_moved(make, store, tmp_path):
    """A clone of the repository elsewhere holds the same baseline."""
    saved = _save(store, [make(1)])
    shutil.move(store, tmp_path / "elsewhere")
    assert baselines.load_runs(tmp_path / "elsewhere", saved)[0].run.valid


def test_a_name_is_taken_once_unless_it_is_to_be_replaced(make, store):
    """The old one stays when the new one is refused, and is gone when it is replaced."""
    first, second = make(1), make(2)
    _save(store, [first])
    with pytest.raises(UsageError, match="--replace"):
        _save(store, [second])
    bad = make(3, invalid_reasons=("It was late.",))
    with pytest.raises(InvalidRunError):
        _save(store, [bad], replace=True)
    assert len(baselines.load(store, "main").runs) == 1
    replaced = _save(store, [first, second], replace=True)
    assert len(baselines.load_runs(store, replaced)) == 2


def test_nothing_but_a_baseline_is_replaced(make, store):
    """A folder or file of the user's that has the name is told apart from a baseline, and stays."""
    path = make(1)
    (store / "docs").mkdir(parents=True)
    (store / "docs" / "page.md").write_text("mine")
    (store / "file").write_text("mine")
    for name in ("docs", "file"):
        for replacing in (False, True):
            with pytest.raises(UsageError, match=f"{name} is no baseline; choose another name"):
                _save(store, [path], name=name, replace=replacing)
    assert (store / "docs" / "page.md").read_text() == (store / "file").read_text() == "mine"
    assert {one.name for one in store.iterdir()} == {"docs", "file"}


def test_a_baseline_stays_when_its_successor_cannot_be_put_in_place(make, store, monkeypatch):
    """Stopped between the two renames, the old one is back whole and nothing else is left behind."""
    saved = _save(store, [make(1)])
    rename = Path.rename

    def stopped(self, target):
        if target == store / "main" and not self.name.endswith(".old"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        _save(store, [make(2)], replace=True)
    assert baselines.load_runs(store, baselines.load(store, "main"))
    assert baselines.load(store, "main") == saved
    assert [one.name for one in store.iterdir()] == ["main"]


def test_a_baseline_is_replaced_although_its_predecessor_cannot_be_removed(make, store, monkeypatch):
    """A removal that fails costs neither of the two: the name has the new one."""
    _save(store, [make(1)])
    second = make(2)
    monkeypatch.setattr(os, "unlink", _refused)
    saved = _save(store, [second], replace=True)
    assert baselines.load_runs(store, saved)
    assert baselines.load(store, "main") == saved


def _refused(*_args, **_options):
    raise PermissionError


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "x" * 101, "a b", "a\n"])
def test_a_name_never_leads_out_of_the_store(make, store, name):
    """Names that are paths are refused by every command."""
    with pytest.raises(UsageError, match="no name"):
        _save(store, [make(1)], name=name)
    with pytest.raises(UsageError, match="no name"):
        baselines.load(store, name)


def test_runs_that_prove_nothing_or_are_unlike_are_not_saved(make, store, tmp_path):
    """INVALID, interrupted, of another schedule, twice, or no run at all."""
    good = make(1)
    with pytest.raises(InvalidRunError):
        _save(store, [good, make(2, invalid_reasons=("It was late.",))])
    with pytest.raises(InvalidRunError):
        _save(store, [make(3, interrupted=True)])
    with pytest.raises(UsageError, match="did not offer"):
        _save(store, [good, make(4, schedule_hash="other")])
    with pytest.raises(UsageError, match="did not offer"):
        _save(store, [good, make(5, speed="1x")])
    with pytest.raises(UsageError, match="twice"):
        _save(store, [good, good])
    foreign = tmp_path / "foreign.run"
    foreign.write_text("no run")
    with pytest.raises(CaptureError):
        _save(store, [foreign])
    with pytest.raises(UsageError):
        _save(store, [tmp_path / "absent.run"])
    assert not store.exists()


def test_unlike_runs_are_refused_until_their_difference_is_allowed(make, store):
    """Capture, speed and host class, each by its own name; what is allowed is warned of."""
    saved = _save(store, [make(1)])
    like = _named(make(2))
    other_host = replace(HOST, cores=64)
    assert baselines.check_like(saved, [like], HOST, set()) == []
    cases = [
        (Unlike.CAPTURE, _named(make(3, schedule_hash="x", capture_id="d" * 32)), HOST, "another capture"),
        (Unlike.CAPTURE, _named(make(4, schedule_hash="x")), HOST, "another part"),
        (Unlike.SPEED, _named(make(5, schedule_hash="x", speed="1x")), HOST, "1x"),
        (Unlike.HOST, like, other_host, "x 64"),
    ]
    for kind, run, host, said in cases:
        with pytest.raises(UsageError, match=f"--allow {kind}"):
            baselines.check_like(saved, [like, run], host, set(Unlike) - {kind})
        warnings = baselines.check_like(saved, [like, run], host, {kind})
        assert len(warnings) == 1
        assert said in warnings[0]


def test_another_speed_does_not_admit_another_capture(make, store):
    """Each is allowed by its own name and warned of; the speed alone changes the hash of the schedule."""
    saved = _save(store, [make(1)])
    run = _named(make(2, schedule_hash="x", speed="1x", capture_id="d" * 32))
    with pytest.raises(UsageError, match=r"another capture.*--allow capture"):
        baselines.check_like(saved, [run], HOST, {Unlike.SPEED})
    warnings = baselines.check_like(saved, [run], HOST, {Unlike.SPEED, Unlike.CAPTURE})
    assert [word in warning for warning, word in zip(warnings, ("1x", "capture"), strict=True)] == [True] * 2


def test_the_machine_that_sent_counts_not_the_one_that_compares(make, store):
    """Runs that say where they were sent from are saved with that, and judged by it anywhere."""
    other = replace(HOST, cores=64)
    saved = _save(store, [make(1, host=other)])
    assert saved.host == other
    assert baselines.check_like(saved, [_named(make(2, host=other))], HOST, set()) == []
    with pytest.raises(UsageError, match=r"sent by AMD EPYC x 2.*--allow host"):
        baselines.check_like(saved, [_named(make(3, host=HOST))], other, set())
    with pytest.raises(UsageError, match="machine of another class"):
        _save(store, [make(4, host=other), make(5, host=HOST)], name="mixed")


def test_a_derived_capture_is_like_its_origin(make, store):
    """The anonymized copy offers the same schedule under another id."""
    saved = _save(store, [make(1)])
    assert baselines.check_like(saved, [_named(make(2, capture_id="e" * 32))], HOST, set()) == []


def test_an_exchanged_or_missing_run_is_noticed(make, store):
    """A merge that mixed two baselines, or a file that was not fetched."""
    saved = _save(store, [make(1), make(2)])
    first, second = (store / "main" / run.file for run in saved.runs)
    shutil.copyfile(first, second)
    with pytest.raises(CaptureError, match="not the run that was saved"):
        baselines.load_runs(store, saved)
    second.unlink()
    with pytest.raises(CaptureError, match="not the run that was saved"):
        baselines.load_runs(store, saved)


def test_an_absent_baseline_is_told_with_those_that_are_there(make, store):
    """A typing error is easily seen."""
    _save(store, [make(1)])
    with pytest.raises(UsageError, match=r"it has main"):
        baselines.load(store, "mian")
    assert baselines.everything(store / "none") == []


def _spoilt(values, **changes):
    return json.dumps({**values, **changes})


def test_a_damaged_description_is_refused(make, store):
    """Whatever is wrong with it, in one sentence."""
    _save(store, [make(1)])
    path = store / "main" / "baseline.json"
    values = json.loads(path.read_text())
    outside = [{**values["runs"][0], "file": "../../secret"}]
    for text, error in (
        ("{", CaptureError),
        (_spoilt(values, kind="x"), FileKindError),
        (_spoilt(values, format=99), CaptureVersionError),
        (_spoilt(values, runs=[]), CaptureError),
        (_spoilt(values, runs=outside), CaptureError),
        (_spoilt(values, runs=[{}]), CaptureError),
        (_spoilt(values, host={}), CaptureError),
        (_spoilt(values, host=None), CaptureError),
        (_spoilt(values, name="other"), CaptureError),
        (_spoilt(values, speed=3), CaptureError),
        (_spoilt(values, saved_wall_ns="now"), CaptureError),
        (_spoilt(values, saved_wall_ns=10**24), CaptureError),
        (_spoilt(values, saved_wall_ns=-1), CaptureError),
    ):
        path.write_text(text)
        with pytest.raises(error):
            baselines.load(store, "main")


def test_an_older_description_is_opened_by_a_migration(make, store, monkeypatch):
    """What a release before wrote, without the load in words, is read by the one after."""
    saved = _save(store, [make(1)])
    monkeypatch.setattr(baselines, "FORMAT", 2)
    monkeypatch.setattr(
        baselines, "MIGRATIONS", {1: lambda values: {**values, "load": f"was {values['speed']}"}}
    )
    assert baselines.load(store, "main") == replace(saved, load="was 10x")
