"""Every place of an exchange that holds bytes of the traffic, under a name a reader can find."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from anonymizer.audit_decode import content_codings, decode_body, decode_runs, unpacked
from captures.model import (
    CaptureHeader,
    Exchange,
    Failure,
    Headers,
    Message,
    RecorderFacts,
    Request,
    Response,
    SigningRecipe,
)

DERIVED_HEADERS = frozenset(
    {
        b"content-length", b"content-md5", b"content-digest", b"repr-digest", b"digest",
        b"content-encoding", b"content-type", b"transfer-encoding",
    }
)  # fmt: skip
"""Lower-case names of headers that follow from a body: they change with it and name nobody."""

_GRPC_WEB_TEXT = b"application/grpc-web-text"


class Place(NamedTuple):  # made for every header of every exchange, in a third of a dataclass's time
    """
    Some bytes of a capture and where they stand.

    ``key`` pairs it with the same place of the other capture: kind, lower-case name and count
    of that name. ``content_type`` is that of a body. ``undecodable`` says that ``data`` still
    has its content coding. ``derived`` places hold nothing that could be an original.
    """

    name: str
    key: tuple[str, bytes, int]
    data: bytes
    content_type: bytes = b""
    undecodable: bool = False
    derived: bool = False

    def __repr__(self) -> str:
        """Say where, never what."""
        return f"Place({self.name!r}, {len(self.data)} bytes)"


def exchange_places(exchange: Exchange) -> Iterator[Place]:
    """The places of ``exchange`` with content codings undone."""
    yield from request_places(exchange.request)
    yield from outcome_places(exchange.outcome)
    if exchange.signing is not None:
        yield _plain("signing recipe", _recipe_text(exchange.signing))


def request_places(request: Request, headers: Headers | None = None) -> Iterator[Place]:
    """The places of a request, its content coding undone; ``headers`` when not all of them are wanted."""
    yield _plain("request method", request.method)
    yield _plain("request authority", request.authority)
    yield _plain("request target", request.target)
    yield _plain("request scheme", request.scheme)
    yield _plain("request http_version", request.http_version)
    yield from _parts("request", request, headers)


def outcome_places(outcome: Response | Failure) -> Iterator[Place]:
    """The places of what came back, its content coding undone."""
    if isinstance(outcome, Failure):
        yield _plain("failure detail", outcome.detail.encode())
        return
    yield _plain("response reason", outcome.reason)
    yield _plain("response http_version", outcome.http_version)
    yield from _parts("response", outcome, None)


def without_common(before: Headers, after: Headers) -> tuple[Headers, Headers]:
    """The fields of both that differ, if both have the same names in the same order; else all of them."""
    if [name for name, _ in before] != [name for name, _ in after]:
        return before, after
    differing = [number for number, field in enumerate(before) if field != after[number]]
    return tuple(before[number] for number in differing), tuple(after[number] for number in differing)


def stored_bodies(exchange: Exchange) -> Iterator[Place]:
    """The bodies that are compressed, as they are stored: a coding may store text as text."""
    sides: list[tuple[str, Request | Response]] = [("request", exchange.request)]
    if isinstance(exchange.outcome, Response):
        sides.append(("response", exchange.outcome))
    for side, part in sides:
        if part.body and (content_codings(part.headers) or unpacked(part.body) is not part.body):
            yield _plain(f"{side} body, as stored", part.body)


def message_place(message: Message, number: int) -> Place:
    """The payload of the message that is the ``number``-th of its exchange, counted from 0."""
    sender = "client" if message.from_client else "server"
    return _plain(f"message {number} from the {sender}", unpacked(message.payload))


def stored_message(message: Message, number: int) -> Iterator[Place]:
    """The payload as it is stored, if it is compressed."""
    if unpacked(message.payload) is not message.payload:
        yield _plain(f"message {number}, as stored", message.payload)


def capture_places(header: CaptureHeader) -> Iterator[Place]:
    """What stands once in a capture and is free text."""
    yield _plain("capture header source", header.source.encode())
    yield _plain("capture header problems", "\n".join(header.source_problems).encode())
    yield _plain("capture header tool", header.tool.encode())
    if header.anonymized is not None:
        yield _plain("capture header policy", header.anonymized.policy.encode())


def facts_place(facts: RecorderFacts) -> Place:
    """What a recorder told of connections, in words."""
    words = [*facts.added_ns, *facts.client_tls, *facts.server_tls]
    return _plain("recorder facts", "\n".join(words).encode())


def _recipe_text(recipe: SigningRecipe) -> bytes:
    template = recipe.template
    if template is None:
        return recipe.header
    return b"\n".join((recipe.header, template.prefix, template.signed, template.timestamp_header))


def _plain(name: str, data: bytes) -> Place:
    return Place(name, (name, b"", 0), data)


def _parts(side: str, part: Request | Response, headers: Headers | None) -> Iterator[Place]:
    yield from _header_places(f"{side} header", part.headers if headers is None else headers)
    kind = f"{side} body"
    decoded = decode_body(part.body, part.headers)
    content_type = b"".join([value for name, value in part.headers if name.lower() == b"content-type"][:1])
    data = unpacked(part.body if decoded is None else decoded)
    if content_type.lower().startswith(_GRPC_WEB_TEXT):  # of a longer message other bytes pad what follows
        data = decode_runs(data)
    yield Place(kind, (kind, b"", 0), data, content_type.lower(), undecodable=decoded is None)
    yield from _header_places(f"{side} trailer", part.trailers)


def _header_places(kind: str, headers: Headers) -> Iterator[Place]:
    if not headers:
        return
    names, keys = _header_names(kind, tuple([name for name, _ in headers]))
    yield names
    for (name, key, derived), (_, value) in zip(keys, headers, strict=True):
        yield Place(name, key, value, b"", False, derived)


@lru_cache(maxsize=1_024)
def _header_names(
    kind: str, names: tuple[bytes, ...]
) -> tuple[Place, list[tuple[str, tuple[str, bytes, int], bool]]]:
    """The place of the names themselves, and name, key and whether it is derived for each value."""
    counts: dict[bytes, int] = {}
    keys = []
    for name in names:
        lower_name = name.lower()
        number = counts[lower_name] = counts.get(lower_name, -1) + 1
        place_name = f"{kind} {lower_name.decode('latin-1')}"
        keys.append((place_name, (kind, lower_name, number), lower_name in DERIVED_HEADERS))
    title = f"{kind} names"
    return Place(title, (title, b"", 0), b"\n".join(names), b"", derived=True), keys
