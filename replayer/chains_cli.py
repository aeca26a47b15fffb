"""``hookreel chains``: what later requests take from earlier responses."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import click
from tabulate import tabulate

from captures.reader import CaptureReader
from captures.text import clean
from captures.units import format_duration
from replayer.chain import Chains, Evidence, Rule
from replayer.load import Load
from replayer.options import UseChains
from replayer.replay import chains_of
from replayer.schedule import build_schedule


@click.command(short_help="List what later requests take from earlier responses.")
@click.argument("capture", metavar="IN", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def chains(capture: Path, as_json: bool) -> None:
    """
    List the values that the target mints in a response and a client sends back later.

    Ids, cookies, tokens, ETags and locations are found by analysing the capture IN alone. A
    replay puts what the target mints afresh in their place, and lets such a request wait for
    the response it needs. No value is ever printed.

    \b
    Example:
      hookreel chains safe.reel
    """
    with CaptureReader.open(capture) as reader:
        found = chains_of(reader, UseChains.ALWAYS, build_schedule(reader.index, Load()))
    assert found is not None
    rows = [_row(found, rule, evidence) for rule, evidence in found.rules.items()]
    rows.sort(key=lambda row: (-row["linked"], row["from"], row["to"]))
    if as_json:
        chained = {"chained_exchanges": len(found.links), "parents": len(found.parents), "full": found.full}
        click.echo(json.dumps({**chained, "chains": rows}, indent=2))
        return
    if not rows:
        click.echo("No request takes anything from an earlier response.")
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
    headers = ["minted by", "taken by", "requests", "values", "think time p50"]
    click.echo(tabulate(cells, headers=headers, disable_numparse=True))
    click.echo(f"{len(found.links)} requests wait for the responses to {len(found.parents)} others.")


def _row(found: Chains, rule: Rule, evidence: Evidence) -> dict[str, Any]:
    return {
        "from": rule.parent_endpoint,
        "from_place": rule.parent_place,
        "to": rule.child_endpoint,
        "to_place": rule.child_place,
        "linked": evidence.linked,
        "asked": found.asked[rule.child_endpoint, rule.child_place],
        "values": len(evidence.values),
        "think_p50_ns": int(median(evidence.think_ns)),
    }
