"""Text out of recorded traffic, made fit for a terminal or a report."""

from __future__ import annotations


def clean(text: str, keep: str = "") -> str:
    """``text`` with every character that cannot be printed escaped, save those in ``keep``."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


def clean_lines(text: str, indent: str) -> str:
    """Several lines, cleaned; those after the first are indented, so that none can pass for another."""
    return f"\n{indent}".join(clean(line, keep="\t") for line in text.split("\n"))


def counted(number: int, noun: str, plural: str | None = None, *, grouped: bool = False) -> str:
    """``"1 exchange"``, ``"2 exchanges"``; with ``grouped`` ``"12,000 exchanges"``."""
    digits = f"{number:,}" if grouped else str(number)
    return f"{digits} {noun if number == 1 else plural or f'{noun}s'}"
