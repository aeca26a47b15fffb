"""Webhook bodies that were valid by GitHub's published JSON schemas still are; these come by npm."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema.validators import Draft7Validator

PAYLOADS = Path(__file__).parents[3] / "shared" / "data" / "github_webhooks.jsonl"
PACKAGE = "@octokit/webhooks-schemas@7.6.1"

pytestmark = pytest.mark.npm


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("schemas")
    subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE],
        check=True,
        capture_output=True,
        timeout=100,
    )
    schema = json.loads(
        (folder / "node_modules" / "@octokit" / "webhooks-schemas" / "schema.json").read_text()
    )
    return schema["definitions"]


def is_valid(definitions: dict[str, Any], event: str, payload: dict[str, Any]) -> bool:
    # one action's schema says in a fraction of the time what the choice between all says
    names = (f"{event}${payload.get('action')}", f"{event}_event", f"{event}$event")
    name = next((name for name in names if name in definitions), None)
    return name is not None and Draft7Validator(
        {"definitions": definitions, "$ref": f"#/definitions/{name}"}
    ).is_valid(payload)


def test_valid_bodies_stay_valid(definitions: dict[str, Any], make_exchange: Any, anonymized: Any) -> None:
    """All bodies that the schemas accepted are accepted with their stand-ins too."""
    rows = [json.loads(line) for line in PAYLOADS.read_text().splitlines()]
    valid = [row for row in rows if is_valid(definitions, row["event"], row["payload"])]
    assert len(valid) > 240
    result = anonymized(
        *(
            make_exchange(
                seq,
                body=json.dumps(row["payload"]).encode(),
                headers=((b"Content-Type", b"application/json"), (b"X-GitHub-Event", row["event"].encode())),
            )
            for seq, row in enumerate(valid)
        )
    )
    bodies = [json.loads(exchange.request.body) for exchange in result.exchanges]
    assert sum(row["payload"] != body for row, body in zip(valid, bodies, strict=True)) > 200
    refused = [
        (row["event"], row["payload"].get("action"))
        for row, body in zip(valid, bodies, strict=True)
        if not is_valid(definitions, row["event"], body)
    ]
    assert refused == []
