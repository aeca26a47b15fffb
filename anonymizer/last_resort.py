"""
What an exchange or message comes to that cannot be anonymized for a reason that nobody foresaw.

Anybody can send what makes a scrubber fail, and that must neither end the run nor be passed on. So
bodies are emptied, and where that does not help all that the client and the server wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from anonymizer.dependants import refitted
from anonymizer.exchange_scrubber import ExchangeScrubber
from captures.errors import HookreelError
from captures.model import Exchange, Message, Request, Response

_Thing = TypeVar("_Thing", Exchange, Message)
_Side = TypeVar("_Side", Request, Response)


class LastResort(ExchangeScrubber):
    """
    Scrubs exchanges and messages; of those that make it fail less is left, which is scrubbed instead.

    It is counted with what could not be read, under the name of the error's type and nothing else of it.
    """

    def exchange(self, exchange: Exchange) -> Exchange:
        """``exchange`` as it is without what makes it fail; order, times and status stay."""
        return self._least(exchange, super().exchange, "exchange", (_whole, _without_bodies, _without_words))

    def message(self, message: Message) -> Message:
        """``message`` with zeros for a payload that makes it fail."""
        return self._least(message, super().message, "message", (_whole, _without_payload))

    def _least(
        self,
        thing: _Thing,
        scrub: Callable[[_Thing], _Thing],
        name: str,
        ways: tuple[Callable[[_Thing], _Thing], ...],
    ) -> _Thing:
        report = self._report
        counted = report.exchanges, report.messages, report.signatures
        failure = ""
        for less in ways:
            try:
                made = scrub(less(thing))
            except HookreelError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is about this thing alone
                failure = type(error).__name__
                report.exchanges, report.messages, report.signatures = counted
                continue
            if failure:
                self.undecodable(f"{name} ({failure})")
            return made
        raise HookreelError(
            f"A capture holds what cannot be anonymized even without its contents ({failure}); leave it out "
            "with hookreel slice."
        )


def _whole(thing: _Thing) -> _Thing:
    return thing


def _without_bodies(exchange: Exchange) -> Exchange:
    """``exchange`` with zeros for bodies, which then cannot be read."""
    outcome = exchange.outcome
    if isinstance(outcome, Response):
        outcome = _without_body(outcome)
    return replace(exchange, request=_without_body(exchange.request), outcome=outcome)


def _without_body(side: _Side) -> _Side:
    zeros = bytes(len(side.body))
    return replace(
        side,
        headers=refitted(side.headers, side.body, zeros),
        body=zeros,
        trailers=refitted(side.trailers, side.body, zeros),
    )


def _without_words(exchange: Exchange) -> Exchange:
    """Nothing of ``exchange`` but its times and status, and a request that asks for nothing."""
    outcome = exchange.outcome
    if isinstance(outcome, Response):
        outcome = replace(outcome, reason=b"", http_version=b"HTTP/1.1", headers=(), body=b"", trailers=())
    else:
        outcome = replace(outcome, detail="")
    request = Request(
        method=b"GET", scheme=b"http", authority=b"", target=b"/", http_version=b"HTTP/1.1", headers=()
    )
    return replace(exchange, request=request, outcome=outcome, signing=None)


def _without_payload(message: Message) -> Message:
    return replace(message, payload=bytes(len(message.payload)))
