from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from captures.model import SignatureScheme
from hookreel.demo.plan import Delivery, plan_traffic
from hookreel.demo.target import EXTRA_STEP_S, Release, run_id_for
from hookreel.demo.tenants import SCHEMES, write_tenants
from hookreel.demo.traffic import signed_headers, unsigned_headers

PLAN = plan_traffic(seed=5, duration_s=10)


def delivery_of(scheme: SignatureScheme, tenant: str = "acme", event: str | None = None) -> Delivery:
    return next(
        delivery
        for delivery in PLAN.deliveries
        if delivery.scheme is scheme and delivery.tenant == tenant and event in {None, delivery.event}
    )


def as_text(headers) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in headers]


def bearer(tenant) -> dict[str, str]:
    return {"Authorization": f"Bearer {tenant.token}"}


async def deliver(client, tenants, delivery: Delivery, **changes):
    tenant = next(tenant for tenant in tenants if tenant.name == delivery.tenant)
    now_s = changes.get("now_s", int(time.time()))
    headers = changes.get("headers") or signed_headers(delivery, tenant.secrets[delivery.scheme], now_s)
    async with client.post(
        f"/api/hooks/{tenant.slug(delivery.scheme)}",
        data=changes.get("body", delivery.body),
        headers=as_text(headers),
    ) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_takes_a_signed_webhook(with_target, tenants, scheme):
    """A webhook with its scheme's signature is answered 202 with the run it starts."""

    async def scenario(client):
        delivery = delivery_of(scheme)
        status, answer = await deliver(client, tenants, delivery)
        assert status == 202
        assert answer["run"] == run_id_for("acme", delivery.delivery_id)

    with_target(scenario)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_refuses_a_webhook_that_is_not_its_senders(with_target, tenants, scheme):
    """Without a signature, with a changed body or with another tenant's secret the answer is 401."""

    async def scenario(client):
        delivery = delivery_of(scheme)
        other = signed_headers(delivery, tenants[1].secrets[scheme], int(time.time()))
        assert (await deliver(client, tenants, delivery, headers=unsigned_headers(delivery)))[0] == 401
        assert (await deliver(client, tenants, delivery, body=delivery.body + b" "))[0] == 401
        assert (await deliver(client, tenants, delivery, headers=other))[0] == 401

    with_target(scenario)


@pytest.mark.parametrize("scheme", [SignatureScheme.STRIPE, SignatureScheme.SLACK])
def test_refuses_a_stale_signature(with_target, tenants, scheme):
    """A signature whose timestamp is ten minutes old is answered 401."""

    async def scenario(client):
        stale_s = int(time.time()) - 600
        assert (await deliver(client, tenants, delivery_of(scheme), now_s=stale_s))[0] == 401

    with_target(scenario)


def test_a_signature_counts_only_for_its_own_hook(with_target, tenants):
    """A rightly signed GitHub webhook is refused at the tenant's Stripe hook."""

    async def scenario(client):
        delivery = delivery_of(SignatureScheme.GITHUB)
        headers = signed_headers(delivery, tenants[0].secrets[SignatureScheme.GITHUB], int(time.time()))
        async with client.post(
            "/api/hooks/acme-stripe", data=delivery.body, headers=as_text(headers)
        ) as response:
            assert response.status == 401

    with_target(scenario)


def test_refuses_a_body_that_is_no_event(with_target, tenants):
    """A signed body that is not a JSON object is answered 400, an unknown hook 404."""

    async def scenario(client):
        delivery = delivery_of(SignatureScheme.GITHUB)
        odd = Delivery(
            tenant="acme",
            scheme=delivery.scheme,
            event="push",
            delivery_id=delivery.delivery_id,
            headers=delivery.headers,
            body=b"[1]",
        )
        assert (await deliver(client, tenants, odd))[0] == 400
        async with client.post("/api/hooks/acme-nobody", data=b"{}") as response:
            assert response.status == 404

    with_target(scenario)


def test_a_redelivered_webhook_names_the_same_run(with_target, tenants, store):
    """Delivering twice gives one run, and a run's id does not depend on the database."""

    async def scenario(client):
        delivery = delivery_of(SignatureScheme.STRIPE)
        first = await deliver(client, tenants, delivery)
        again = await deliver(client, tenants, delivery)
        assert first[1]["run"] == again[1]["run"]
        assert again[0] == 202
        assert len(store.recent("acme", 10)) == 1

    with_target(scenario)


def test_tenants_are_kept_apart(with_target, tenants):
    """A run answers 200 to its tenant, 404 to the other one, 401 to nobody, and is listed for its own."""

    async def scenario(client):
        _, answer = await deliver(client, tenants, delivery_of(SignatureScheme.SLACK))
        path = f"/api/runs/{answer['run']}"
        statuses = []
        for headers in (bearer(tenants[0]), bearer(tenants[1]), {}, {"Authorization": "Bearer wrong"}):
            async with client.get(path, headers=headers) as response:
                statuses.append(response.status)
        assert statuses == [200, 404, 401, 401]
        listed = []
        for tenant in tenants:
            async with client.get("/api/runs", headers=bearer(tenant)) as response:
                listed.append([run["id"] for run in (await response.json())["runs"]])
        assert listed == [[answer["run"]], []]
        async with client.get("/api/stats", headers=bearer(tenants[1])) as response:
            assert (await response.json())["workflows"] == []

    with_target(scenario)


@pytest.mark.parametrize("limit", ["0", "101", "ten", "-1"])
def test_refuses_an_odd_limit(with_target, tenants, limit):
    """A limit that is not a number from 1 to 100 is answered 400."""

    async def scenario(client):
        async with client.get(f"/api/runs?limit={limit}", headers=bearer(tenants[0])) as response:
            assert response.status == 400

    with_target(scenario)


def test_the_live_log_ends_when_the_run_is_done(with_target, tenants):
    """The log stream of a running rollout gives every line in order, then says done and ends."""

    async def scenario(client):
        delivery = delivery_of(SignatureScheme.GITHUB, event="deployment", tenant=rollout_tenant())
        owner = next(tenant for tenant in tenants if tenant.name == delivery.tenant)
        _, answer = await deliver(client, tenants, delivery)
        async with client.get(f"/api/runs/{answer['run']}/logs", headers=bearer(owner)) as response:
            assert response.content_type == "text/event-stream"
            text = (await response.read()).decode()
        assert re.findall(r"^id: (\d+)$", text, re.MULTILINE) == [str(number) for number in range(9)]
        assert text.endswith(f"event: done\ndata: {answer['run']}\n\n")
        async with client.get(f"/api/runs/{answer['run']}", headers=bearer(owner)) as response:
            assert (await response.json())["status"] == "done"

    with_target(scenario)


def rollout_tenant() -> str:
    return next(delivery.tenant for delivery in PLAN.deliveries if delivery.event == "deployment")


def test_only_one_endpoint_of_release_b_takes_an_extra_step(with_target, tenants):
    """Release B waits once more in GET /api/runs/{id} and nowhere else; release A never does."""
    waits: list[tuple[str, float]] = []
    place = ""

    async def sleep(seconds: float) -> None:
        waits.append((place, seconds))

    async def scenario(client):
        nonlocal place
        place = "hook"
        _, answer = await deliver(client, tenants, delivery_of(SignatureScheme.GITHUB))
        run = f"/api/runs/{answer['run']}"
        for path in ("/health", "/api/stats", "/api/runs?limit=5", run, f"{run}/logs"):
            place = path.replace(answer["run"], "{id}")
            async with client.get(path, headers=bearer(tenants[0])) as response:
                assert response.status == 200
                await response.read()

    with_target(scenario, Release.A, sleep=sleep)
    assert waits == []
    with_target(scenario, Release.B, sleep=sleep)
    assert waits == [("/api/runs/{id}", EXTRA_STEP_S)]


def test_an_answer_repeats_the_person_behind_the_webhook(with_target, tenants):
    """Responses hold personal data of the request, in each of the three shapes."""

    async def scenario(client):
        for scheme, event in (
            (SignatureScheme.GITHUB, "push"),
            (SignatureScheme.STRIPE, "customer.updated"),
            (SignatureScheme.SLACK, "team_join"),
        ):
            delivery = delivery_of(scheme, event=event)
            _, answer = await deliver(client, tenants, delivery)
            assert answer["requested_by"]["email"].encode() in delivery.body

    with_target(scenario)


def test_runs_as_a_process_of_its_own(tmp_path, tenants):
    """The command announces its address, answers, and ends with 0 when it is interrupted."""
    write_tenants(tmp_path / "tenants.json", tenants)
    command = [sys.executable, "-m", "hookreel.demo.target", "--tenants", str(tmp_path / "tenants.json")]
    with subprocess.Popen(
        [*command, "--database", str(tmp_path / "runs.db"), "--release", "B"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stdout.readline()
        url = re.search(r"http://\S+", line)[0]
        with urllib.request.urlopen(f"{url}/health") as response:
            assert json.load(response) == {"status": "ok"}
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_the_log_of_a_run_that_is_done_ends_at_once(with_target, tenants):
    """Opening the log of a finished run gives all its lines and the end."""

    async def scenario(client):
        _, answer = await deliver(client, tenants, delivery_of(SignatureScheme.SLACK))
        path = f"/api/runs/{answer['run']}"
        for _ in range(2):  # the first one waits until the run is done
            async with (
                asyncio.timeout(10),
                client.get(f"{path}/logs", headers=bearer(tenants[0])) as response,
            ):
                assert (await response.text()).count("event: log") == 4

    with_target(scenario)


def test_a_port_in_use_is_one_sentence(tmp_path, tenants):
    """When the port is taken the target ends with 1 and says so, without a traceback."""
    write_tenants(tmp_path / "tenants.json", tenants)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "hookreel.demo.target", "--port", port]
        ended = subprocess.run(
            [*command, "--tenants", str(tmp_path / "tenants.json")],
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Error: 127.0.0.1:{port} cannot be listened on")
    assert ended.stderr.count("\n") == 1
