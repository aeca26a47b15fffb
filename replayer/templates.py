"""
Endpoint templates that a user wrote: which requests are one endpoint, whatever their paths look like.

Labels are learned from a capture by the shape of paths and the number of values. A file of templates
says it better where a segment is a slug (merge ``/shop/shoes`` and ``/shop/hats``), or where one path
answers two questions (split ``/rpc?method=pay`` off ``/rpc``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from captures.endpoints import EndpointTable, cut_label
from captures.errors import UsageError
from captures.index import CaptureIndex
from captures.reader import CaptureReader
from replayer.results import Run

_HOW = 'write endpoints = ["GET /shop/{slug}", "POST /rpc?method=pay"]'
_TEMPLATE = re.compile(r"(?P<method>\*|[!-)+-~]+) (?P<path>/[^?#\s]*)(\?(?P<query>[^#\s]+))?")
_NAMED = re.compile(r"\{[^{}/]+\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """
    ``METHOD /path/{name}?key=value``: the label of every request that it matches.

    ``{name}`` stands for one segment of the path, ``**`` as the last one for whatever follows, ``*`` for
    any method; each ``key=value`` must be in the query, in any order, among others.
    """

    text: str
    method: str
    path: re.Pattern[str]
    query: frozenset[tuple[str, str]] = frozenset()

    def matches(self, method: str, path: str, query: str) -> bool:
        """Whether a request is of this endpoint."""
        if self.method not in ("*", method) or self.path.fullmatch(path) is None:
            return False
        return not self.query or self.query <= set(parse_qsl(query, keep_blank_values=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """The templates of a file, in its order; the first that matches a request is its label."""

    templates: tuple[Template, ...]

    def of_request(self, method: bytes, target: bytes) -> str | None:
        """The label of a request, None where no template matches it."""
        path, _, query = target.decode("latin-1").partition("#")[0].partition("?")
        return self._first(method.decode("latin-1"), path, query)

    def of_label(self, label: str) -> str | None:
        """
        The label of what was learned to be ``label``, None where no template matches all of it.

        A learned ``{id}`` is matched by a named segment alone, as it may have been any value.
        """
        method, _, path = label.partition(" ")
        return self._first(method, path, "")

    def _first(self, method: str, path: str, query: str) -> str | None:
        found = (one.text for one in self.templates if one.matches(method, path, query))
        return next(found, None)


def read_templates(path: Path) -> Templates:
    """
    The templates of a TOML file with the one key ``endpoints``.

    Raises:
        UsageError: the file cannot be read, or holds something else.

    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); name a file of templates.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML ({error}); correct it.") from error
    found = values.get("endpoints")
    if set(values) != {"endpoints"} or not isinstance(found, list) or not found:
        raise UsageError(f"{path} holds no list of endpoints alone; {_HOW}.")
    return Templates(templates=tuple(_template(path, text) for text in found))


def _template(file: Path, text: object) -> Template:
    known = _TEMPLATE.fullmatch(text) if isinstance(text, str) else None
    if known is None or not isinstance(text, str) or cut_label(text) != text:
        raise UsageError(f"{text!r} in {file} is no template; {_HOW}.")
    segments = known["path"].split("/")
    if "**" in segments[:-1]:
        raise UsageError(f"{text!r} in {file} has ** before its end; write {{name}} for one segment.")
    parts = [
        ".*" if segment == "**" else "[^/]+" if _NAMED.fullmatch(segment) else re.escape(segment)
        for segment in segments
    ]
    query = known["query"] or ""
    return Template(
        text=text,
        method=known["method"],
        path=re.compile("/".join(parts), re.DOTALL),
        query=frozenset(parse_qsl(query, keep_blank_values=True)),
    )


class TemplatedIndex(CaptureIndex):
    """The index of a capture, with endpoints of its user's making."""

    def __init__(self, learned: CaptureIndex, labels: Sequence[str], endpoint: NDArray[np.uint32]) -> None:
        vars(self).update(vars(learned))
        self._own_labels = tuple(labels)
        self.endpoint = endpoint

    @property
    def endpoint_labels(self) -> tuple[str, ...]:
        """The label of each endpoint number."""
        return self._own_labels


def use_templates(reader: CaptureReader, templates: Templates) -> None:
    """
    Let ``reader`` tell the endpoints of ``templates``; all requests are read once for that.

    Raises:
        CaptureError: the capture is damaged.

    """
    learned, table = reader.index, EndpointTable()
    endpoint = np.zeros(len(learned), np.uint32)
    exchanges = zip(learned.endpoint.tolist(), reader.exchanges(), strict=True)
    for row, (number, exchange) in enumerate(exchanges):
        request = exchange.request
        label = templates.of_request(request.method, request.target)
        endpoint[row] = table.number(learned.endpoint_labels[number] if label is None else label)
    reader.index = TemplatedIndex(learned, table.labels, endpoint)


def with_templates(run: Run, templates: Templates) -> Run:
    """
    The run with endpoints put together where a template matches their labels.

    A run holds no requests, so templates that split an endpoint are for the replay that makes it.
    """
    header = run.header
    hosts = header.services or ("",) * len(header.endpoints)
    number_of: dict[tuple[str, str], int] = {}
    numbers = np.zeros(len(header.endpoints), np.uint32)
    for at, (label, host) in enumerate(zip(header.endpoints, hosts, strict=True)):
        plain = label.replace(f" {host}", " ", 1)
        found = templates.of_label(plain)
        named = label if found is None else found.replace(" ", f" {host}", 1)
        numbers[at] = number_of.setdefault((named, host), len(number_of))
    return replace(
        run,
        header=replace(
            header,
            endpoints=tuple(label for label, _ in number_of),
            services=tuple(host for _, host in number_of) if header.services else (),
        ),
        rows=replace(run.rows, endpoint=numbers[run.rows.endpoint]),
    )
