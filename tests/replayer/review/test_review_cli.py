"""The command ``hookreel review``, with replays that are simulated."""

from __future__ import annotations

import html
import json
import re
import shlex
import socket
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from captures.errors import HookreelError
from replayer.cli import replay
from replayer.results import Run, read_run, write_run
from replayer.review.cli import diff
from replayer.review.review_cli import review_command

_SAMPLE = Path(__file__).parents[3] / "captures" / "samples" / "workflow-engine.reel"


class Replays:
    """Stands in for ``hookreel replay``: each replay is a simulated run of the build at its target."""

    def __init__(self, campaign, worlds):
        self.commands = []
        self.refusal = ""
        self.stop_at = None
        self._campaign, self._worlds = campaign, worlds

    def __call__(self, words):
        """Rehearse, or write a run."""
        self.commands.append(list(words))
        if self.refusal:
            return 2, "", self.refusal
        if "--dry-run" in words:
            endpoints = dict.fromkeys(next(iter(self._worlds.values())).medians_ms, 200)
            return 0, json.dumps({"load": "10x", "duration_ns": 60 * 10**9, "endpoints": endpoints}), ""
        number = len(self.replays())
        if number == self.stop_at:
            raise KeyboardInterrupt
        run = self._campaign.simulate(self._worlds[words[2]], number, started_s=number * 100)
        write_run(Path(words[5]), Run(header=replace(run.header, target=words[2]), rows=run.rows))
        times = {"send_lag_ns": {"p99": 1_000}, "response_time_ns": {"p50": 10**7}, "invalid_reasons": []}
        return 0, json.dumps({"sent": 1, "failed": 0, "duration_ns": 10**9, **times}), ""

    def replays(self):
        """Targets in the order they were replayed against."""
        return [words[2] for words in self.commands if "--dry-run" not in words]


@pytest.fixture
def urls():
    """Two targets that accept connections."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    yield [f"http://127.0.0.1:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()


@pytest.fixture
def quiet(campaign):
    """Eight endpoints of 12 to 120 ms."""
    return campaign.world(8, requests=200)


@pytest.fixture
def run_review(campaign, quiet, urls, tmp_path):
    """Run the command on two builds; returns click's result and the stand-in."""

    def run(*words, candidate=quiet, folder="review", replays=None):
        replays = replays or Replays(campaign, {urls[0]: quiet, urls[1]: candidate})
        command = review_command(replay, replays)
        arguments = [
            str(_SAMPLE),
            "--baseline",
            urls[0],
            "--candidate",
            urls[1],
            "-o",
            str(tmp_path / folder),
        ]
        arguments += ["--ledger", str(tmp_path / "noise")]
        return CliRunner().invoke(command, [*arguments, *words]), replays

    return run


@pytest.fixture
def slow(quiet):
    """One endpoint takes 40 % longer."""
    return replace(quiet, factor={list(quiet.medians_ms)[4]: 1.4})


def test_a_slower_build_is_named_and_the_answer_is_no(run_review, slow, tmp_path):
    """Eight pairs by default; the report names the endpoint, on the screen and in the folder."""
    result, replays = run_review(candidate=slow)
    assert result.exit_code == 3
    assert "SLOWER: GET /api/e04/{id}" in result.stdout
    assert len(replays.replays()) == 16
    folder = tmp_path / "review"
    assert json.loads((folder / "report.json").read_text())["verdict"] == "SLOWER"
    assert json.loads((folder / "report.json").read_text())["paired"] is True
    page = (folder / "report.html").read_text()
    assert "GET /api/e04/{id}" in page
    assert f"hookreel diff --paired --baseline {folder}/01-baseline.run" in page
    command = html.unescape(re.search(r"<pre><code>(.*?)</code></pre>", page)[1])
    again = CliRunner().invoke(diff, shlex.split(command)[2:]).stdout
    assert again.splitlines()[0] == "<!doctype html>" == page.splitlines()[0]
    assert "--margin 5%" in command
    assert all(read_run(path).valid for path in folder.glob("*.run"))
    assert "pairs for +10 %" in result.stderr


def test_a_change_within_the_noise_of_earlier_reviews_is_not_named(run_review, slow, tmp_path):
    """The ledger's floor holds it back, and says so; what was learned since changes nothing afterwards."""
    quiet_one, _ = run_review("--pairs", "3", "--json", candidate=slow, folder="first")
    assert json.loads(quiet_one.stdout)["verdict"] == "SLOWER"
    ledger = tmp_path / "noise"
    values = json.loads(ledger.read_text())
    for seen in values["entries"][0]["seen"]:
        seen["squares"] = 0.5 * (seen["pairs"] - 1)  # pairs that differ by 70 %
    recent = json.dumps(values)
    values["entries"][0]["made_wall_ns"] = 1
    ledger.write_text(json.dumps(values))
    noisy, _ = run_review("--pairs", "3", "--json", candidate=slow, folder="second")
    report = json.loads(noisy.stdout)
    assert report["verdict"] == "INCONCLUSIVE"
    changed = next(one for one in report["endpoints"] if one["endpoint"] == "GET /api/e04/{id}")
    assert any("in earlier reviews" in warning for warning in changed["warnings"])
    ledger.write_text(recent)
    again, _ = run_review("--pairs", "3", "--json", candidate=slow, folder="first")
    assert json.loads(again.stdout) == json.loads(quiet_one.stdout)


def test_answers_of_all_replays_are_kept_under_one_key(run_review, tmp_path):
    """Equal values get equal stand-ins; the key lies beside the folder, private, and is used again."""
    _, replays = run_review("--pairs", "3", "--keep-bodies", "all")
    key = tmp_path / "review.key"
    told = [[word for word in words if word.startswith("--key-file")] for words in replays.commands]
    assert told[0] == []  # a rehearsal keeps nothing
    assert told[1:] == [[f"--key-file={key}"]] * 6
    assert key.stat().st_mode & 0o777 == 0o600
    content = key.read_text()
    again, _ = run_review("--pairs", "3", "--keep-bodies", "all")
    assert again.exit_code in {0, 3}
    assert key.read_text() == content


def test_templates_are_handed_on_to_every_replay(run_review):
    """The rehearsal too, so that the plan knows the endpoints that will be judged."""
    _, replays = run_review("--pairs", "3", "--endpoints", "endpoints.toml")
    assert all("--endpoints=endpoints.toml" in words for words in replays.commands)


def test_a_named_key_or_no_answers_make_no_key(run_review, tmp_path):
    """What the user named is handed on."""
    _, replays = run_review("--pairs", "3", "--keep-bodies", "all", "--key-file", "mine.key")
    assert "--key-file=mine.key" in replays.commands[-1]
    run_review("--pairs", "3", folder="other")
    run_review("--pairs", "3", "--keep-bodies", "none", folder="third")
    assert not list(tmp_path.glob("*.key"))


def test_equal_builds_raise_no_alarm(run_review):
    """The command's exit code is that of the comparison."""
    result, _ = run_review("--pairs", "4", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["verdict"] in {"SAME", "INCONCLUSIVE"}
    strict, _ = run_review("--pairs", "4", "--json", "--strict")
    assert strict.exit_code == (0 if json.loads(strict.stdout)["verdict"] == "SAME" else 5)


def test_options_of_replay_are_handed_on_as_they_were_given(run_review):
    """Values, flags and repeated ones reach the rehearsal and every replay; defaults do not."""
    _, replays = run_review(
        "--speed", "10x", "--keep-ids", "--match", "method=POST", "--match", "path=/a b", "--pairs", "3"
    )
    given = ["--speed=10x", "--match=method=POST", "--match=path=/a b", "--keep-ids"]
    assert len(replays.commands) == 7
    for words in replays.commands:
        assert sorted(word for word in words[3:] if word in given) == sorted(given)
        assert not any(word.startswith(("--workers", "--timeout", "--chains")) for word in words)


def test_secrets_are_not_taken_from_the_command_line(run_review):
    """Every process of the machine could read them there, sixteen times."""
    result, replays = run_review("--secret", "github=abc")
    assert result.exit_code == 2
    assert "--secret" in result.stderr
    assert replays.commands == []


def test_a_stopped_review_says_how_to_go_on_and_does(campaign, run_review, quiet, urls):
    """Ctrl-C in the third pair: the same command makes the rest, in the same order."""
    replays = Replays(campaign, dict.fromkeys(urls, quiet))
    replays.stop_at = 5
    result, _ = run_review("--pairs", "4", replays=replays)
    assert isinstance(result.exception, HookreelError)
    assert "run the same command" in str(result.exception)
    replays.stop_at = None
    result, _ = run_review("--pairs", "4", replays=replays)
    assert result.exit_code == 0
    assert len(replays.replays()) == 5 + 4


def test_a_budget_is_planned_from_what_reviews_have_learned(run_review, slow, tmp_path):
    """The first plan says that it assumes the noise, the second what earlier reviews told."""
    result, replays = run_review("--budget", "10m", candidate=slow, folder="one")
    assert "assumed noise" in result.stderr
    length = next(word for word in replays.commands[-1] if word.startswith("--duration="))
    assert int(length.removeprefix("--duration=").removesuffix("ms")) < 60_000
    result, replays = run_review("--budget", "10m", candidate=slow, folder="two")
    assert "by earlier reviews" in result.stderr
    pairs = json.loads((tmp_path / "two" / "review.json").read_text())["pairs"]
    assert len(replays.replays()) == 2 * pairs
    again, more = run_review("--budget", "10m", candidate=slow, folder="two")
    assert again.exit_code == 3
    assert more.replays() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pairs", "4", "--budget", "10m"], "--pairs and --budget"),
        (["--budget", "10m", "--duration", "5s"], "--duration"),
        (["--before", "'open"], "--before"),
        (["--before", " "], "--before"),
        (["--slo", "soon"], "no objective"),
        (["--margin", "0"], "margin"),
    ],
)
def test_mistakes_are_told_before_anything_is_sent(run_review, words, said, tmp_path):
    """Each in a sentence; no folder is begun."""
    result, replays = run_review(*words)
    assert isinstance(result.exception, HookreelError)
    assert result.exception.exit_code == 2
    assert said in str(result.exception)
    assert replays.replays() == []
    assert not (tmp_path / "review").exists()


def test_what_a_replay_refuses_is_passed_on(campaign, run_review, quiet, urls):
    """An option that does not fit the capture is found by the rehearsal."""
    replays = Replays(campaign, dict.fromkeys(urls, quiet))
    replays.refusal = "Error: --to must be later than --from."
    result, _ = run_review(replays=replays)
    assert "--to must be later" in str(result.exception)
    assert replays.replays() == []


def test_a_missed_objective_is_a_no(run_review):
    """Nothing got slower, and still half of the requests take longer than permitted."""
    result, _ = run_review("--pairs", "3", "--slo", "p99<20ms")
    assert result.exit_code == 3


def test_the_help_says_everything(run_review):
    """Own options first, then those of the replays; each has its sentence."""
    result, _ = run_review("--help")
    assert result.exit_code == 0
    assert result.stdout.index("--before COMMAND") < result.stdout.index("--speed N")
    command = review_command(replay, lambda _words: (0, "", ""))
    assert all(param.help for param in command.params if isinstance(param, click.Option))
