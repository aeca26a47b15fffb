"""
The demo target: a small webhook engine after MeshHook, in a process of its own.

``python -m hookreel.demo.target --tenants tenants.json --release A``
"""

from __future__ import annotations

import asyncio
import gc
import hmac
import json
import signal
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

import click
from aiohttp import web

from captures.errors import HookreelError
from captures.model import SignatureScheme
from captures.signatures import recognise, verify
from hookreel.demo.store import RunRecord, Store
from hookreel.demo.tenants import Tenant, read_tenants
from hookreel.demo.worker import Engine, Sleep

SLOWER_ENDPOINT = "GET /api/runs/{id}"
EXTRA_STEP_S = 0.025
MAX_BODY_BYTES = 1024 * 1024
_RUN_NAMESPACE = uuid.UUID("6f1d1f0a-5a0e-4b36-9a38-3d6c1d2a7c55")  # any fixed value: ids must repeat


class Release(StrEnum):
    """Two builds of the target; B is slower on ``SLOWER_ENDPOINT`` and the same everywhere else."""

    A = "A"
    B = "B"


def run_id_for(tenant: str, delivery_id: str) -> str:
    """The id of the run a delivery starts; a delivery that comes again names the same run."""
    return str(uuid.uuid5(_RUN_NAMESPACE, f"{tenant}/{delivery_id}"))


class Api:
    """The target's HTTP handlers; clocks and sleeping come in as arguments."""

    def __init__(
        self,
        tenants: tuple[Tenant, ...],
        store: Store,
        release: Release,
        *,
        sleep: Sleep = asyncio.sleep,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._tenants = tenants
        self._hooks = {
            tenant.slug(scheme): (tenant, scheme) for tenant in tenants for scheme in tenant.secrets
        }
        self._store = store
        self._release = release
        self._sleep = sleep
        self._clock_s = clock_s
        self._engine = Engine(store, sleep=asyncio.sleep, clock_ms=self._now_ms)

    def app(self) -> web.Application:
        """The aiohttp application; its workers start and stop with it."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.add_routes(
            [
                web.post("/api/hooks/{slug}", self.hook),
                web.get("/api/runs", self.list_runs),
                web.get("/api/runs/{id}", self.get_run),
                web.get("/api/runs/{id}/logs", self.follow_logs),
                web.get("/api/stats", self.stats),
                web.get("/health", self.health),
            ]
        )
        app.cleanup_ctx.append(self._engine_context)
        return app

    async def hook(self, request: web.Request) -> web.Response:
        """Take a signed webhook; 202 with a run id, 401 when the signature is missing, wrong or stale."""
        tenant, scheme = self._hooks.get(request.match_info["slug"], (None, None))
        if tenant is None or scheme is None:
            return _problem(404, "there is no hook of this name")
        body = await request.read()
        recipe = recognise(request.raw_headers)
        if (
            recipe is None
            or recipe.scheme is not scheme
            or not verify(
                recipe,
                secret=tenant.secrets[scheme],
                headers=request.raw_headers,
                body=body,
                now_s=int(self._clock_s()),
            )
        ):
            return _problem(401, "the signature is missing, wrong or too old")
        event = _parse(body)
        delivery_id = _delivery_id(scheme, request, event)
        if event is None or not delivery_id:
            return _problem(400, "the body is not an event with a delivery id")
        return self._accept(tenant, f"{scheme}.{_event_name(scheme, request, event)}", delivery_id, event)

    async def get_run(self, request: web.Request) -> web.Response:
        """One run of the caller's tenant."""
        found = self._find(request)
        if isinstance(found, web.Response):
            return found
        if self._release is Release.B:
            # The planted regression: a step that waits and burns no CPU, so nothing else gets slower.
            await self._sleep(EXTRA_STEP_S)
        return web.json_response(found.as_json())

    async def list_runs(self, request: web.Request) -> web.Response:
        """The newest runs of the caller's tenant; ``?limit=`` takes 1 to 100."""
        tenant = self._caller(request)
        if tenant is None:
            return _unauthorized()
        limit = request.query.get("limit", "20")
        if not limit.isdecimal() or not 1 <= int(limit) <= 100:
            return _problem(400, "limit must be a number from 1 to 100")
        return web.json_response(
            {"runs": [run.as_json() for run in self._store.recent(tenant.name, int(limit))]}
        )

    async def follow_logs(self, request: web.Request) -> web.StreamResponse:
        """A run's log as server-sent events, live; it ends when the run is done."""
        found = self._find(request)
        if isinstance(found, web.Response):
            return found
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        line = 0
        try:
            while True:
                changed = self._engine.changed(found.id)  # before reading, so that no line is missed
                for text in self._store.logs(found.id, line):
                    await response.write(f"id: {line}\nevent: log\ndata: {text}\n\n".encode())
                    line += 1
                if changed is None:
                    break
                await changed.wait()
            await response.write(f"id: {line}\nevent: done\ndata: {found.id}\n\n".encode())
        except ConnectionResetError:
            pass  # the watcher left
        return response

    async def stats(self, request: web.Request) -> web.Response:
        """Counts and mean durations for the workflows of the caller's tenant."""
        tenant = self._caller(request)
        if tenant is None:
            return _unauthorized()
        return web.json_response({"workflows": self._store.stats(tenant.name)})

    async def health(self, _request: web.Request) -> web.Response:
        """Whether the target takes requests."""
        return web.json_response({"status": "ok"})

    def _accept(self, tenant: Tenant, workflow: str, delivery_id: str, event: dict[str, Any]) -> web.Response:
        run_id = run_id_for(tenant.name, delivery_id)
        requested_by = _requested_by(event)
        if self._store.add_run(
            run_id, tenant=tenant.name, workflow=workflow, requested_by=requested_by, now_ms=self._now_ms()
        ):
            self._engine.submit(run_id, workflow)
        return web.json_response(
            {"run": run_id, "workflow": workflow, "requested_by": requested_by}, status=202
        )

    def _find(self, request: web.Request) -> RunRecord | web.Response:
        tenant = self._caller(request)
        if tenant is None:
            return _unauthorized()
        run = self._store.run(tenant.name, request.match_info["id"])
        return run or _problem(404, "there is no run of this id")

    def _caller(self, request: web.Request) -> Tenant | None:
        given = request.headers.get("Authorization", "").encode()
        found = None
        for tenant in self._tenants:  # every token is compared, whichever fits
            if hmac.compare_digest(given, f"Bearer {tenant.token}".encode()):
                found = tenant
        return found

    def _now_ms(self) -> int:
        return int(self._clock_s() * 1000)

    async def _engine_context(self, _app: web.Application) -> AsyncIterator[None]:
        self._engine.start()
        yield
        await self._engine.stop()


def _problem(status: int, detail: str) -> web.Response:
    return web.json_response({"error": detail}, status=status)


def _unauthorized() -> web.Response:
    return web.json_response(
        {"error": "a valid bearer token is needed"}, status=401, headers={"WWW-Authenticate": "Bearer"}
    )


def _parse(body: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(body)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _delivery_id(scheme: SignatureScheme, request: web.Request, event: dict[str, Any] | None) -> str:
    if scheme is SignatureScheme.GITHUB:
        return request.headers.get("X-GitHub-Delivery", "")
    key = "id" if scheme is SignatureScheme.STRIPE else "event_id"
    return str((event or {}).get(key, ""))


def _event_name(scheme: SignatureScheme, request: web.Request, event: dict[str, Any]) -> str:
    if scheme is SignatureScheme.GITHUB:
        return request.headers.get("X-GitHub-Event", "event")
    if scheme is SignatureScheme.STRIPE:
        return str(event.get("type", "event"))
    inner = event.get("event")
    return str(inner.get("type", "event")) if isinstance(inner, dict) else "event"


def _requested_by(event: dict[str, Any]) -> dict[str, str]:
    """The person an event names, in whichever of the three shapes it has."""
    places = (("sender",), ("data", "object", "billing_details"), ("data", "object"), ("event", "user"))
    for place in places:
        person: Any = event
        for key in place:
            person = person.get(key) if isinstance(person, dict) else None
        if isinstance(person, dict):
            profile = person.get("profile")
            fields = profile if isinstance(profile, dict) else person
            known = ("login", "name", "real_name", "email", "phone")
            said = {key: fields[key] for key in known if isinstance(fields.get(key), str)}
            if said:
                return said
    return {}


async def serve(api: Api, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; ``announce`` gets the URL once connections are accepted."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(api.app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        gc.freeze()  # what start-up made is never garbage; shorter collections under load
        announce(f"http://{host}:{runner.addresses[0][1]}")
        await stop.wait()
    finally:
        await runner.cleanup()


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 takes a free one."
)
@click.option("--tenants", type=click.Path(path_type=Path), required=True, help="Tenant file (mode 0600).")
@click.option(
    "--database",
    type=click.Path(path_type=Path),
    help="SQLite file; without one the runs are forgotten at the end.",
)
@click.option("--release", type=click.Choice(["A", "B"]), default="A", help="Which build to be.")
def main(host: str, port: int, tenants: Path, database: Path | None, release: str) -> None:
    """Run the demo's webhook engine until it is interrupted."""
    try:
        known = read_tenants(tenants)
    except HookreelError as error:
        raise click.ClickException(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="hookreel-target-") as scratch:
        store = Store(database or Path(scratch) / "runs.db")
        try:
            api = Api(known, store, Release(release))
            asyncio.run(serve(api, host, port, lambda url: _announce(release, url)))
        except OSError as error:
            problem = f"{host}:{port} cannot be listened on ({error.strerror}); name another --port."
            raise click.ClickException(problem) from error
        finally:
            store.close()


def _announce(release: str, url: str) -> None:
    click.echo(f"Demo target, release {release}, listens on {url}")


if __name__ == "__main__":
    main()
