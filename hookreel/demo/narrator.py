"""Says on stderr what the demo is doing: live on a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

_PLAIN_SHARES = 5  # without a terminal, progress is a line for each fifth


class Narrator:
    """Numbered steps with the command that ran, its progress and one line of what came of it."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self._steps = steps
        self._step = 0

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._step += 1
        self._line(f"[bold]{self._step}/{self._steps} {escape(title)}[/bold]")

    def command(self, shown: str) -> None:
        """Show a command line before it runs; it can be copied as it stands."""
        self._line(f"    [cyan]$ {escape(shown)}[/cyan]")

    def result(self, text: str) -> None:
        """Say what came of the step, in one line."""
        self._line(f"    [green]{escape(text)}[/green]")

    def note(self, text: str) -> None:
        """Say what went otherwise than planned."""
        self._line(f"    [yellow]{escape(text)}[/yellow]")

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """A spinner while something runs; nothing without a terminal."""
        if not self._console.is_terminal:
            yield
            return
        # Four frames a second: the animation must not disturb what is being measured.
        with self._console.status(f"    {escape(text)}", refresh_per_second=4):
            yield

    @contextmanager
    def counting(self, text: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar, or a line for each fifth, that follows a count up to ``total``."""
        if not self._console.is_terminal:
            yield self._plain_count(text, total)
            return
        columns = (
            TextColumn("    {task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
        )
        with Progress(
            *columns, TimeElapsedColumn(), console=self._console, transient=True, refresh_per_second=4
        ) as bar:
            task = bar.add_task(text, total=total)
            yield lambda count: bar.update(task, completed=count)

    def _plain_count(self, text: str, total: int) -> Callable[[int], None]:
        said = 0

        def show(count: int) -> None:
            nonlocal said
            share = count * _PLAIN_SHARES // max(total, 1)
            if share > said:
                said = share
                self._line(f"    {escape(text)}: {count} of {total}")

        return show

    def _line(self, markup: str) -> None:
        # soft_wrap: a command that is wrapped by us could not be copied.
        self._console.print(markup, soft_wrap=True, highlight=False)
