from __future__ import annotations

import io

from rich.console import Console

from hookreel.demo.narrator import Narrator


def test_without_a_terminal_everything_is_plain_lines():
    """Steps are numbered, commands stay on one line, and progress is a line for each fifth."""
    out = io.StringIO()
    narrator = Narrator(Console(file=out, width=40), steps=2)
    narrator.step("Record")
    narrator.command("hookreel record " + "x" * 80 + " [bold]")
    with narrator.counting("calls", 10) as show:
        for count in range(1, 11):
            show(count)
    with narrator.working("thinking"):
        narrator.result("done")
    narrator.note("but")
    assert out.getvalue().splitlines() == [
        "1/2 Record",
        "    $ hookreel record " + "x" * 80 + " [bold]",
        *[f"    calls: {count} of 10" for count in (2, 4, 6, 8, 10)],
        "    done",
        "    but",
    ]


def test_on_a_terminal_a_bar_follows_the_count():
    """A terminal gets a bar with the count, and lines around it stay whole."""
    out = io.StringIO()
    narrator = Narrator(Console(file=out, width=80, force_terminal=True), steps=1)
    with narrator.counting("calls", 10) as show:
        show(10)
    with narrator.working("thinking"):
        narrator.result("done")
    assert "10/10" in out.getvalue()
    assert "done" in out.getvalue()
