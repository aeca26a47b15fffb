"""Values where few look: free headers, names of headers, authorities, ends of bodies, bytes in lists."""

from __future__ import annotations

import base64
import json
import string
from typing import Any
from urllib.parse import unquote_to_bytes

import msgpack
import pytest

EMAIL = b"vashla.kowski@corp-nine.io"
CARD = b"4532757391743089"
IP = b"81.2.69.142"
PHONE = b"+4930495798"
JSON = (b"Content-Type", b"application/json")


@pytest.mark.parametrize(
    "value",
    [
        b"probe/1.0 (+%b)" % EMAIL,
        b"probe/1.0 (client %b; x)" % IP,
        b"probe/1.0 (+%b)" % IP,
        b"probe/1.0 from %b" % PHONE,
        b"probe/1.0 (+%b)" % CARD,
    ],
)
def test_a_user_agent_holds_values(value: bytes, through: Any) -> None:
    """An address, a number or a card in a free header goes."""
    ((_, new),) = through(headers=((b"User-Agent", value),)).request.headers
    assert new.startswith(b"probe/1.0 ")
    assert all(known not in new for known in (EMAIL, CARD, IP, PHONE))


@pytest.mark.parametrize(
    "value",
    [
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/100.0.48.96 Safari/537.36",
        b"Outlook 16.0.5.3",
        b"okhttp/4.9.3.1",
    ],
)
def test_versions_of_products_stay(value: bytes, through: Any) -> None:
    """A version behind a slash or a product's name is no address."""
    assert through(headers=((b"User-Agent", value),)).request.headers == ((b"User-Agent", value),)


@pytest.mark.parametrize(
    ("name", "value"), [(b"Via", b"1.1 %b"), (b"Server", b"%b"), (b"X-Powered-By", b"at %b")]
)
def test_an_address_in_headers_of_machines(name: bytes, value: bytes, through: Any) -> None:
    """Proxies and servers name themselves by address."""
    ((_, new),) = through(headers=((name, value % IP),)).request.headers
    assert IP not in new


@pytest.mark.parametrize("value", [CARD, IP])
def test_a_value_in_names(value: bytes, through: Any) -> None:
    """Behind a sign of the name of a header or a cookie a value goes, and the rest stays."""
    one = through(
        headers=((b"X-Meta-" + value, b"1"), (b"Cookie", b"seen_%b=1" % value)),
    )
    (name, _), (_, cookie) = one.request.headers
    assert name.startswith(b"X-Meta-")
    assert cookie.startswith(b"seen_")
    assert value not in name + cookie


@pytest.mark.parametrize("user", [b"jane.doe%40corp-nine.io:pw12345", b"wthackeray:pw12345", b"wthackeray"])
def test_users_in_an_authority(user: bytes, through: Any) -> None:
    """User name and password before the host go; the host stays where the name is no address itself."""
    new = through(authority=user + b"@host.test:80", target=b"//%b@host.test/x" % user).request
    assert new.authority.endswith(b"@host.test:80") is (b"%40" not in user)
    for part in (b"doe", b"wthackeray", b"pw12345"):
        assert part not in new.authority + new.target


def test_other_words_of_a_request(through: Any) -> None:
    """A value goes that a client put where scheme and version stand."""
    one = through()
    odd = through(method=b"GET")
    assert (one.request.scheme, one.request.http_version) == (odd.request.scheme, odd.request.http_version)


@pytest.mark.parametrize(
    "body",
    [
        b'{"x": 1}\n\n%b' % CARD,
        b"{x: '%b', // c\n y: 1}" % CARD,
        b"{x: '%b', // c\n y: 1}" % IP,
        b"{x:'+49 30 4957 9846', y: 1}",
        b'{"x": [1, 2], "y": "%b' % EMAIL[:-5],
        b'{"type": "Buffer", "data": %b}' % json.dumps(list(EMAIL)).encode(),
        b'{"a": {"type": "Buffer", "data": %b}}' % str(list(CARD)).encode(),
    ],
)
def test_what_is_hardly_json(body: bytes, through: Any) -> None:
    """A number after the document, single quotes, a string without an end and the bytes of Node are read."""
    new = through(headers=(JSON,), body=body).request.body
    assert new[:4] == body[:4]
    for value in (
        CARD,
        IP,
        EMAIL[:-5],
        b"4957 9846",
        str(list(EMAIL)).encode()[1:-1],
        str(list(CARD)).encode(),
    ):
        assert value not in new


def test_bytes_of_node_stay_bytes(through: Any) -> None:
    """The list holds the stand-in, as a list of numbers."""
    body = json.dumps({"plain": EMAIL.decode(), "sent": {"type": "Buffer", "data": list(EMAIL)}}).encode()
    new = json.loads(through(headers=(JSON,), body=body).request.body)
    assert bytes(new["sent"]["data"]).decode() == new["plain"] != EMAIL.decode()


def test_a_phone_number_that_nobody_escaped(through: Any) -> None:
    """A plus sign before digits is one, also where it should be a space."""
    form = (b"Content-Type", b"application/x-www-form-urlencoded")
    new = through(headers=(form,), body=b"a=1&to=+4930495798&b=2").request.body
    assert new.startswith(b"a=1&to=+")
    assert b"495798" not in new


def test_text_after_messagepack(through: Any) -> None:
    """Bytes after a document are numbers to that format, and are read as the text they spell."""
    packed = msgpack.packb({"x": 1})
    new = through(headers=((b"Content-Type", b"application/msgpack"),), body=packed + EMAIL).request.body
    assert new.startswith(packed)
    assert EMAIL not in new
    assert new.endswith(b".example.com")


def test_archives_in_base64_are_blanked(through: Any) -> None:
    """A ZIP file under base64 becomes as many zero bytes, as one does that is a body."""
    body = b'{"file": "UEsDBBQAAAAAAGpzdVgAAAAAAAAAAAAAAAAFAAAAYS50eHRqYW5lLmRvZUBjb3JwLW5pbmUuaW8="}'
    new = json.loads(through(headers=(JSON,), body=body).request.body)["file"]
    assert set(new) <= {"A", "="}
    assert len(new) == len(json.loads(body)["file"])


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        (b"user_ghp_0123456789abcdefghijABCDEFGHIJ012345", False),
        (b"login_wthackeray", False),
        (b"login_count", True),
        (b"corp_nine_id", True),
    ],
)
def test_a_value_within_the_name_of_a_field(name: bytes, stays: bool, through: Any) -> None:
    """A secret or a person's login in a name goes; a word of the program in it stays."""
    body = b'{"login": "wthackeray", "email": "a.b@corp-nine.io", "%b": 1}' % name
    new = through(headers=(JSON,), body=body).request.body
    assert (b'"%b"' % name in new) is stays


def test_a_cookie_of_nothing_but_escapes(through: Any) -> None:
    """Escaped letters are letters: a credential that holds no others becomes another one."""
    cookie = b"sid=%256A%2561%256E%2565%2540%2563%256F%2572%2570%252E%2569%256F"
    ((_, new),) = through(headers=((b"Cookie", cookie),)).request.headers
    plain = unquote_to_bytes(unquote_to_bytes(new))
    assert plain.translate(None, string.ascii_lowercase.encode()) == b"=@."
    assert b"jane" not in plain


@pytest.mark.parametrize("text", [b"card%bend", b"x%by"])
@pytest.mark.parametrize("value", [CARD, IP, b"+4930495798", b"DE89370400440532013000"])
def test_a_known_number_that_touches_letters(value: bytes, text: bytes, through: Any) -> None:
    """What is known from a field of its own needs no gap elsewhere."""
    body = b'{"value": "%b", "note": "%b"}' % (value, text % value)
    new = json.loads(through(headers=(JSON,), body=body).request.body)
    assert value.decode() not in new["note"]


@pytest.mark.parametrize("text", [b"q=%b", b"/users/%b/edit"])
def test_base64_behind_an_equals_sign_and_in_a_path(text: bytes, through: Any) -> None:
    """A name, a sign and base64 are a field of some text."""
    written = base64.b64encode(EMAIL + b"??>>")
    new = through(headers=(JSON,), body=b'{"note": "%b"}' % (text % written)).request.body
    assert written not in new


def test_text_of_an_event_has_fields(through: Any) -> None:
    """An event whose data is no JSON is read like a line of a log."""
    body = b"data: last_name=Grubinger x=1\n\n"
    kind = ((b"Content-Type", b"text/event-stream"),)
    new = through(response_headers=kind, response_body=body).outcome.body
    assert b"Grubinger" not in new
    assert new.startswith(b"data: last_name=")
    assert new.endswith(b" x=1\n\n")


def test_a_number_that_no_county_of_china_has(through: Any) -> None:
    """Eighteen digits that begin like a province pass, whatever the library knows of it."""
    body = b'{"note": "659999198001011235"}'
    assert through(headers=(JSON,), body=body).request.body == body
