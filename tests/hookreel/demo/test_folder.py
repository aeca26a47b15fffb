from __future__ import annotations

import pytest

from captures.errors import UsageError
from hookreel.demo.folder import MARKER, prepare_folder


def test_a_new_folder_is_made_and_marked(tmp_path):
    """An absent folder, and an empty one, get the marker file."""
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "new" / "deeper", tmp_path / "empty"):
        prepare_folder(path)
        assert [entry.name for entry in path.iterdir()] == [MARKER]


def test_an_earlier_demos_folder_is_replaced(tmp_path):
    """Files of an earlier demo are removed, so that nothing of it is taken for new."""
    folder = prepare_folder(tmp_path / "demo")
    for name in folder.names():
        (tmp_path / "demo" / name).write_text("old")
    prepare_folder(tmp_path / "demo")
    assert [entry.name for entry in (tmp_path / "demo").iterdir()] == [MARKER]


@pytest.mark.parametrize("marked", [True, False])
def test_a_folder_with_other_files_is_left_alone(tmp_path, marked):
    """A folder that holds anything else is refused and keeps every file."""
    path = tmp_path / "work"
    if marked:
        prepare_folder(path)
    path.mkdir(exist_ok=True)
    (path / "staging.reel").write_text("mine")
    (path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="--folder"):
        prepare_folder(path)
    assert (path / "staging.reel").read_text() == "mine"
    assert (path / "thesis.txt").exists()


def test_demo_names_without_the_marker_are_left_alone(tmp_path):
    """A capture that happens to have the demo's file name is not removed."""
    (tmp_path / "staging.reel").write_text("mine")
    with pytest.raises(UsageError, match=r"staging\.reel"):
        prepare_folder(tmp_path)
    assert (tmp_path / "staging.reel").exists()


def test_a_file_in_the_folders_place_is_a_usage_error(tmp_path):
    """A path that is a file, or lies below one, is refused in one sentence."""
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="not a folder"):
            prepare_folder(path)
