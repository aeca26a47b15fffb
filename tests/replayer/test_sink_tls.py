"""The sink as the target's proxy for https: its own certificates, its own counts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from mitmproxy.certs import CertStore

from captures.errors import UsageError
from captures.model import Exchange, Response
from captures.reader import CaptureReader
from replayer.outbound import OutboundAnswers
from replayer.sink_tls import Authority, Front

Make = Callable[..., Exchange]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorder's folder with its CA."""
    place = tmp_path_factory.mktemp("ca")
    CertStore.create_store(place, "mitmproxy", 2048, organization="a test")
    return place


@pytest.fixture
def answers(exchange: Make, capture: Callable[..., Path]) -> OutboundAnswers:
    """What answers one recorded call over https."""
    call = exchange(0, authority=b"api.stripe.test", method=b"POST", target=b"/v1/charges")
    assert isinstance(call.outcome, Response)
    call = replace(
        call,
        request=replace(call.request, scheme=b"https"),
        outcome=replace(call.outcome, body=b'{"paid":true}'),
    )
    return OutboundAnswers(CaptureReader.open(capture([call])), with_latency=False)


@asynccontextmanager
async def proxy(
    answers: OutboundAnswers, authority: Authority | None, distrusted: Callable[[str], None] = print
) -> AsyncIterator[str]:
    server = web.Server(answers.handle)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Front(server, authority, distrusted), "127.0.0.1", 0)
    yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    listener.close()
    await server.shutdown(0.1)


async def ask(through: str, url: str, trust: ssl.SSLContext | bool = True) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, proxy=through, ssl=trust, data=b"{}") as response,
    ):
        return response.status, await response.read()


def test_calls_over_https_are_answered_in_a_tunnel(folder: Path, answers: OutboundAnswers) -> None:
    """A client that trusts the recorder's CA gets the recorded answer, with the port in the URL or not."""
    trust = ssl.create_default_context(cafile=folder / "mitmproxy-ca-cert.pem")

    async def go() -> list[Any]:
        async with proxy(answers, Authority.in_folder(folder)) as through:
            return [
                await ask(through, f"https://api.stripe.test{port}/v1/{what}", trust)
                for port, what in (("", "charges"), (":443", "charges"), ("", "refunds"))
            ] + [await ask(through, "https://127.0.0.1:9/v1/charges", trust)]

    paid = (200, b'{"paid":true}')
    found = asyncio.run(go())
    assert found[:2] == [paid, paid]
    assert [status for status, _ in found[2:]] == [501, 501]
    assert answers.counts.exact == 2
    assert dict(answers.counts.unknown) == {
        "POST api.stripe.test/v1/refunds": 1,
        "POST 127.0.0.1:9/v1/charges": 1,
    }


def test_a_client_that_does_not_trust_the_ca_is_counted(folder: Path, answers: OutboundAnswers) -> None:
    """It gets no answer, and the account says why."""

    async def go() -> None:
        told = asyncio.Event()

        def distrusted(host: str) -> None:
            answers.distrusted(host)
            told.set()

        async with proxy(answers, Authority.in_folder(folder), distrusted) as through:
            with pytest.raises(aiohttp.ClientError):
                await ask(through, "https://api.stripe.test/v1/charges")
            await asyncio.wait_for(told.wait(), 20)

    asyncio.run(go())
    assert dict(answers.counts.unknown) == {"CONNECT api.stripe.test (it does not trust the CA)": 1}


def test_without_a_ca_a_tunnel_is_refused(tmp_path: Path, answers: OutboundAnswers) -> None:
    """Plain calls are answered all the same, and what is asked in vain is counted."""

    async def go() -> Any:
        async with proxy(answers, Authority.in_folder(tmp_path)) as through:
            with pytest.raises(aiohttp.ClientError):
                await ask(through, "https://api.stripe.test/v1/charges")
            return await ask(through, "http://api.stripe.test/v1/charges")

    assert asyncio.run(go()) == (200, b'{"paid":true}')
    assert answers.counts.unknown.total() == 1


@pytest.mark.parametrize("line", [b"CONNECT ", b"CONNECT :443 HTTP/1.1", b"CONNECT  HTTP/1.1"])
def test_a_tunnel_to_nowhere_is_no_error_of_ours(folder: Path, answers: OutboundAnswers, line: bytes) -> None:
    """The client is told so, and nothing goes wrong in the sink."""

    async def go() -> tuple[bytes, list[Any]]:
        wrong: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
        async with proxy(answers, Authority.in_folder(folder)) as through:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(through.rpartition(":")[2]))
            writer.write(line + b"\r\nHost: a.test\r\n\r\n")
            said = await asyncio.wait_for(reader.readline(), 20)
            writer.close()
            await writer.wait_closed()
        return said, wrong

    said, wrong = asyncio.run(go())
    assert said == b"HTTP/1.1 400 Bad Request\r\n"
    assert not wrong


def test_a_damaged_ca_is_an_error_of_use(tmp_path: Path) -> None:
    """One sentence, without what is in the file."""
    (tmp_path / "mitmproxy-ca.pem").write_bytes(b"no key at all")
    with pytest.raises(UsageError, match="cannot be read"):
        Authority.in_folder(tmp_path)
