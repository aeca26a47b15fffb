"""Every format by its name on the command line."""

from __future__ import annotations

from collections.abc import Callable

from replayer.review.report import figures, json, junit, markdown, page, pipelines, text
from replayer.review.report.material import Material
from replayer.review.verdict import Comparison

Writer = Callable[[Material], str]


def _verdicts(render: Callable[[Comparison], str]) -> Writer:
    """A format that shows verdicts alone."""
    return lambda material: render(material.comparison)


WRITERS: dict[str, Writer] = {
    "text": _verdicts(text.render),
    "json": _verdicts(json.render),
    "markdown": _verdicts(markdown.render),
    "html": page.render,
    "junit": _verdicts(junit.render),
    "benchstat": figures.benchstat,
    "otava": figures.otava,
    "codequality": _verdicts(pipelines.code_quality),
}
"""``render`` of each format: a whole document that ends with a newline."""
