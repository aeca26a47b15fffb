"""Rules for the code's own shape that no linter has."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("captures", "recorder", "anonymizer", "replayer", "hookreel")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
MAX_FUNCTION_LINES = 65
MAX_FILE_LINES = 400


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_functions_and_files_are_short(path: Path) -> None:
    """A function has at most 65 lines, a file at most 400."""
    source = path.read_text()
    assert source.count("\n") <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, node.name


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_each_test_says_what_it_shows(path: Path) -> None:
    """Every test has a docstring of one sentence, and its name starts with what it tests."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            docstring = ast.get_docstring(node)
            assert docstring, f"{node.name} has no docstring"
            assert docstring.rstrip().endswith("."), f"{node.name}: its docstring is no sentence"


def test_each_folder_of_tests_is_no_package() -> None:
    """The importlib import mode needs test folders without __init__.py."""
    assert not list((ROOT / "tests").rglob("__init__.py"))
