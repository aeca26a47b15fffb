"""
Makes captures/samples/ with the tool itself: recorded through the proxy, anonymized, audited.

- github-webhooks.reel: signed deliveries of GitHub's published example payloads
- workflow-engine.reel: webhooks, API polls and live logs of the demo's engine, both tenants

    make samples
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import uuid
from pathlib import Path

from rich.console import Console

from captures.model import SignatureScheme
from hookreel.demo.folder import DemoFolder
from hookreel.demo.narrator import Narrator
from hookreel.demo.plan import Action, Call, Delivery, TrafficPlan, plan_traffic
from hookreel.demo.processes import Children
from hookreel.demo.story import Scene, anonymize_capture, audit_capture, record_traffic
from hookreel.demo.tenants import TENANT_NAMES, new_tenants, write_tenants

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "captures" / "samples"
PAYLOADS = ROOT.parent / "shared" / "data" / "github_webhooks.jsonl"
DELIVERIES = 40
SEED = 7
STEPS = 6


def github_plan() -> TrafficPlan:
    """Every eighth of the example payloads, 20 a second, on one connection a tenant."""
    lines = PAYLOADS.read_text().splitlines()[::8][:DELIVERIES]
    deliveries, calls = [], []
    for number, entry in enumerate(map(json.loads, lines)):
        tenant = TENANT_NAMES[number % len(TENANT_NAMES)]
        delivery_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"sample/{number}"))
        headers = (
            (b"Accept", b"*/*"),
            (b"User-Agent", b"GitHub-Hookshot/044aadd"),
            (b"X-GitHub-Event", entry["event"].encode()),
            (b"X-GitHub-Delivery", delivery_id.encode()),
            (b"Content-Type", b"application/json"),
            (b"X-Hub-Signature-256", b""),
        )
        deliveries.append(
            Delivery(
                tenant=tenant,
                scheme=SignatureScheme.GITHUB,
                event=entry["event"],
                delivery_id=delivery_id,
                headers=headers,
                body=json.dumps(entry["payload"], separators=(",", ":")).encode(),
            )
        )
        calls.append(
            Call(at_s=number / 20, action=Action.WEBHOOK, tenant=tenant, client=tenant, delivery=number)
        )
    return TrafficPlan(calls=tuple(calls), deliveries=tuple(deliveries))


def make_sample(name: str, plan: TrafficPlan) -> None:
    """Record, anonymize and audit ``plan``; the safe capture becomes the sample."""
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        folder = DemoFolder(scratch / "files")
        folder.path.mkdir()
        with Children(scratch) as children:
            narrator = Narrator(Console(stderr=True), STEPS)
            scene = Scene(folder=folder, scratch=scratch, children=children, narrator=narrator)
            tenants = new_tenants(secrets.token_hex)
            write_tenants(folder.staging_tenants, tenants)
            record_traffic(scene, tenants, plan)
            anonymize_capture(scene)
            audit_capture(scene)
        SAMPLES.mkdir(exist_ok=True)
        target = SAMPLES / f"{name}.reel"
        shutil.copyfile(folder.safe, target)
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} B")


if __name__ == "__main__":
    make_sample("github-webhooks", github_plan())
    make_sample("workflow-engine", plan_traffic(seed=SEED, duration_s=8.0, rate_rps=25))
