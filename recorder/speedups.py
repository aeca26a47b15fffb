"""
Slow spots of mitmproxy's inside, done faster with the same results.

Each was among the largest entries of a profile of the proxy. They are put in place once, for
this process, and only in versions that were tested with them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from mitmproxy import http
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.layers import modes

from recorder.versions import version_is_tested

_WRAPPERS = (modes.HttpProxy, modes.HttpUpstreamProxy, modes.DestinationKnown)
_INDEX = "_hookreel_index"
_NONE: list[bytes] = []


def install() -> bool:
    """Puts the faster functions in place; False when mitmproxy's version was not tested."""
    if not version_is_tested():
        return False
    headers: Any = http.Headers
    headers.get_all = _get_all
    headers.get = _get
    headers.__getitem__ = _getitem
    headers.__contains__ = _contains
    message: Any = http.MessageData
    message.__post_init__ = _trust
    context: Any = Context
    context.fork = _fork
    return True


class OptionSnapshot:
    """
    All options as they stand, as plain attributes.

    mitmproxy's option manager makes a deep copy of an option each time somebody looks at it.
    """

    def __init__(self, options: Any) -> None:
        for name in options.keys():  # noqa: SIM118 - an option manager is no mapping
            setattr(self, name, getattr(options, name))

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__


def innermost(layer: Any) -> Any:
    """
    The layer behind those that only wait for the protocol to be known, once it is.

    Each of them is one more generator that every command passes through.
    """
    while isinstance(layer, _WRAPPERS):
        following = getattr(layer._handle_event, "__self__", None)  # noqa: SLF001
        if layer._paused or not isinstance(following, NextLayer) or following.layer is None:  # noqa: SLF001
            return layer
        if following._paused or following._paused_event_queue:  # noqa: SLF001
            return layer
        layer = following.layer
    return layer


def _trust(_message: object) -> None:
    # What is checked there is the type of every field that mitmproxy's own parser just made;
    # `python -O` leaves it out too.
    return


def _fork(context: Any) -> Any:
    # The stock function makes a Server that is thrown away at once.
    forked = Context.__new__(Context)
    forked.client, forked.server = context.client, context.server
    forked.options, forked.layers = context.options, context.layers.copy()
    return forked


@lru_cache(maxsize=512)
def _key(name: str | bytes) -> bytes:
    return (name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name).lower()


def header_index(headers: Any) -> dict[bytes, list[bytes]]:
    """The values by lower-case name; a request is asked for about thirty headers on its way."""
    fields = headers.fields
    known: tuple[object, dict[bytes, list[bytes]]] | None = headers.__dict__.get(_INDEX)
    if known is None or known[0] is not fields:  # a change of headers makes a new tuple
        index: dict[bytes, list[bytes]] = {}
        for field, value in fields:
            index.setdefault(field.lower(), []).append(value)
        known = headers.__dict__[_INDEX] = (fields, index)
    return known[1]


def _values(headers: Any, name: str | bytes) -> list[bytes]:
    return header_index(headers).get(_key(name), _NONE)


def _get_all(headers: Any, name: str | bytes) -> list[str]:
    return [value.decode("utf-8", "surrogateescape") for value in _values(headers, name)]


def _get(headers: Any, name: str | bytes, default: Any = None) -> Any:
    values = _values(headers, name)
    if not values:
        return default
    return b", ".join(values).decode("utf-8", "surrogateescape")


def _getitem(headers: Any, name: str | bytes) -> str:
    values = _values(headers, name)
    if not values:
        raise KeyError(name)
    return b", ".join(values).decode("utf-8", "surrogateescape")


def _contains(headers: Any, name: object) -> bool:
    return isinstance(name, (str, bytes)) and bool(_values(headers, name))
