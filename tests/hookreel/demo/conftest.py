from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from hookreel.demo.store import Store
from hookreel.demo.target import Api, Release
from hookreel.demo.tenants import Tenant, new_tenants


@pytest.fixture
def tenants() -> tuple[Tenant, ...]:
    chance = random.Random(1)
    return new_tenants(lambda size: chance.randbytes(size).hex())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "runs.db")
    yield store
    store.close()


@pytest.fixture
def with_target(tenants, store) -> Callable[..., None]:
    """Runs ``scenario(client)`` against a target of ``release`` on a real port."""

    def run(
        scenario: Callable[[TestClient], Awaitable[None]], release: Release = Release.A, **options: object
    ) -> None:
        async def main() -> None:
            api = Api(tenants, store, release, **options)
            async with TestClient(TestServer(api.app())) as client:
                await scenario(client)

        asyncio.run(main())

    return run
