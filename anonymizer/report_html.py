"""The report as one page that needs nothing else: no font, no network, one small script of its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from anonymizer.report import Confidence, Report, confidence
from anonymizer.report_text import audit_sentence
from captures.text import clean, counted

MOST_ROWS = 5_000
_MEANING = {
    Confidence.FORMAT: "published shape, check digits or numbering plan",
    Confidence.KEY: "the field's name says it",
    Confidence.ELSEWHERE: "spelled like a value found in another field",
    Confidence.RULE: "the policy says so",
}


def page_of(report: Report) -> str:
    """The whole page; it names fields and counts, and no values."""
    style = (files("anonymizer") / "report.css").read_text(encoding="utf-8")
    script = (files("anonymizer") / "report.js").read_text(encoding="utf-8")
    # Style and script are named by their hashes, so nothing that traffic could smuggle in would run or load.
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    body = "\n".join(_body(report))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>Anonymization report · hookreel</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _body(report: Report) -> Iterator[str]:
    unread = sum(report.undecodable.values())
    yield "<h1>Anonymization report</h1>"
    yield f'<p class="soft">Policy {_text(report.policy)} · key {_text(report.key_fingerprint)}</p>'
    badges = [("good", "audit passed") if report.audit else ("warn", "audit not run")]
    badges += [("warn", f"{counted(unread, 'body', 'bodies')} could not be read")] if unread else []
    yield "<p>" + "".join(f'<span class="badge {kind}">{text}</span>' for kind, text in badges) + "</p>"
    tiles = (
        (report.exchanges, "exchanges"),
        (report.messages, "messages"),
        (report.distinct_values, "distinct values"),
        (sum(report.replaced.values()), "replacements"),
    )
    shown = (f'<div class="tile"><b>{count:,}</b><span>{name}</span></div>' for count, name in tiles)
    yield f'<div class="tiles">{"".join(shown)}</div>'
    yield from _kinds(report)
    yield from _fields(report)
    yield from _undecodable(report)
    facts = [(str(name), meaning) for name, meaning in _MEANING.items()]
    facts += [("audit", audit_sentence(report).removeprefix("Audit: ")), ("signatures", _signatures(report))]
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{_text(meaning)}</dd>" for name, meaning in facts)
    yield f"<section><h2>How to read this</h2><dl>{rows}</dl></section>"


def _signatures(report: Report) -> str:
    return f"{report.signatures} webhook signatures were removed and are made again when a replay sends"


def _kinds(report: Report) -> Iterator[str]:
    kinds = report.kinds()
    most = max(kinds.values(), default=1)
    rows = []
    for kind, count in kinds.items():
        fields = {path for other, _, path in report.replaced if other == kind}
        meter = f'<meter min="0" max="{most}" value="{count}">{count}</meter>'
        rows.append(f"<tr><td>{_text(kind)}</td>{_number(count)}{_number(len(fields))}<td>{meter}</td></tr>")
    yield _table("By kind", (("kind", ""), ("replaced", "n"), ("fields", "n"), ("", "")), rows)


def _fields(report: Report) -> Iterator[str]:
    counts = sorted(report.replaced.items(), key=lambda item: (-item[1], item[0]))
    rows = [
        f'<tr><td>{_text(kind)}</td><td class="code">{_text(endpoint)}</td>'
        f'<td class="code">{_text(path)}</td>'
        f"{_number(count)}<td>{_text(confidence(kind, path))}</td></tr>"
        for (kind, endpoint, path), count in counts[:MOST_ROWS]
    ]
    columns = (("kind", ""), ("endpoint", ""), ("field", ""), ("replaced", "n"), ("known by", ""))
    yield _table("By endpoint and field", columns, rows)
    if len(counts) > MOST_ROWS:
        more = len(counts) - MOST_ROWS
        yield f'<p class="soft">{more} fields with fewer replacements are in the JSON report.</p>'


def _undecodable(report: Report) -> Iterator[str]:
    if not report.undecodable:
        return
    rows = [
        f'<tr><td class="code">{_text(endpoint)}</td><td class="code">{_text(path)}</td>{_number(count)}</tr>'
        for (endpoint, path), count in sorted(report.undecodable.items())
    ]
    yield _table(
        "Could not be read, and was replaced", (("endpoint", ""), ("field", ""), ("bodies", "n")), rows
    )


def _table(title: str, columns: Sequence[tuple[str, str]], rows: list[str]) -> str:
    heads = "".join(
        f'<th class="{kind}" scope="col"><button type="button">{name}</button></th>' if name else "<th></th>"
        for name, kind in columns
    )
    if not rows:
        return f'<section><h2>{title}</h2><p class="soft">Nothing.</p></section>'
    return (
        f'<section><h2>{title}</h2><div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _number(count: int) -> str:
    return f'<td class="n" data-value="{count}">{count:,}</td>'


def _text(value: object) -> str:
    return escape(clean(str(value)))
