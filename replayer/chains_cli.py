"""``hookreel chains``: what later requests and messages take from earlier responses."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import click
from tabulate import tabulate

from captures.reader import CaptureReader
from captures.text import clean, counted
from captures.units import format_duration
from replayer.chain import Evidence, Rule, endpoints_of
from replayer.load import Load
from replayer.message_chains import message_chains
from replayer.options import UseChains
from replayer.replay import chains_of, spoken_of
from replayer.schedule import build_schedule
from replayer.spoken import Spoken


@click.command(short_help="List what later requests and messages take from earlier responses.")
@click.argument("capture", metavar="IN", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def chains(capture: Path, as_json: bool) -> None:
    """
    List the values that the target mints in a response and a client sends back later.

    Ids, cookies, tokens, ETags and locations are found by analysing the capture IN alone, in
    requests and in what WebSocket clients say. A replay puts what the target mints afresh in
    their place, and lets such a request or message wait for the response it needs. No value is
    ever printed.

    \b
    Example:
      hookreel chains safe.reel
    """
    with CaptureReader.open(capture) as reader:
        schedule = build_schedule(reader.index, Load())
        found = chains_of(reader, UseChains.ALWAYS, schedule)
        assert found is not None
        endpoint = dict(zip(reader.index.seq.tolist(), reader.index.endpoint.tolist(), strict=True))
        endpoint_of = endpoints_of(found, lambda seq: reader.endpoint_labels[endpoint[seq]])
        said = message_chains(spoken_of(reader, schedule, mints=True) or Spoken(), endpoint_of)
    rows = [
        _row(rule, evidence, asked[rule.child_endpoint, rule.child_place])
        for rules, asked in ((found.rules, found.asked), (said.rules, said.asked))
        for rule, evidence in rules.items()
    ]
    rows.sort(key=lambda row: (-row["linked"], row["from"], row["to"]))
    parents = found.parents | said.parents
    if as_json:
        chained = {
            "chained_exchanges": len(found.links),
            "chained_messages": said.messages,
            "parents": len(parents),
            "full": found.full,
        }
        click.echo(json.dumps({**chained, "chains": rows}, indent=2))
        return
    if not rows:
        click.echo("No request or message takes anything from an earlier response.")
        return
    cells = [
        [
            f"{clean(row['from'])} {clean(row['from_place'])}",
            f"{clean(row['to'])} {clean(row['to_place'])}",
            f"{row['linked']} of {row['asked']}",
            row["values"],
            format_duration(row["think_p50_ns"]),
        ]
        for row in rows
    ]
    headers = ["minted by", "taken by", "sent", "values", "think time p50"]
    click.echo(tabulate(cells, headers=headers, disable_numparse=True))
    waiting = counted(len(found.links), "request")
    if said.messages:
        waiting += f" and {counted(said.messages, 'message')}"
    click.echo(f"{waiting} wait for the responses to {counted(len(parents), 'request')}.")


def _row(rule: Rule, evidence: Evidence, asked: int) -> dict[str, Any]:
    return {
        "from": rule.parent_endpoint,
        "from_place": rule.parent_place,
        "to": rule.child_endpoint,
        "to_place": rule.child_place,
        "linked": evidence.linked,
        "asked": asked,
        "values": len(evidence.values),
        "think_p50_ns": int(median(evidence.think_ns)),
    }
