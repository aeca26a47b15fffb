from __future__ import annotations

import pytest
from click.testing import CliRunner

from hookreel.cli import cli
from hookreel.demo import cli as demo_cli
from hookreel.demo.story import Judgement
from hookreel.demo.target import SLOWER_ENDPOINT


def run(monkeypatch, folder, *slower: str):
    """The demo command with a story that ends at once."""

    def tell(scene) -> Judgement:
        scene.folder.diff("txt").write_text("the comparison\n")
        return Judgement(verdict="SLOWER", slower=slower, alarms=())

    monkeypatch.setattr(demo_cli, "tell", tell)
    return CliRunner().invoke(cli, ["demo", "--folder", str(folder)])


def test_exit_0_shows_the_comparison_and_what_to_open_next(monkeypatch, tmp_path):
    """When the planted endpoint alone is SLOWER the comparison stands on stdout, then where to look."""
    result = run(monkeypatch, tmp_path / "demo", SLOWER_ENDPOINT)
    assert result.exit_code == 0
    assert result.stdout.startswith("the comparison\n")
    assert str(tmp_path / "demo" / "diff.md") in result.stdout


@pytest.mark.parametrize("slower", [(), ("GET /health",), (SLOWER_ENDPOINT, "GET /health")])
def test_any_other_answer_is_exit_1_and_one_sentence(monkeypatch, tmp_path, slower):
    """A missed endpoint, or another one named, ends with 1 and says which were named."""
    result = run(monkeypatch, tmp_path / "demo", *slower)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def test_a_folder_with_other_files_is_wrong_usage(monkeypatch, tmp_path):
    """The demo starts nothing in a folder that holds other files, and exits with 2."""
    (tmp_path / "thesis.txt").write_text("mine")
    result = run(monkeypatch, tmp_path, SLOWER_ENDPOINT)
    assert result.exit_code == 2
    assert "thesis.txt" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
