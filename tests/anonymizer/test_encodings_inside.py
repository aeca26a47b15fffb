"""Values inside encodings: found at the right layer, replaced, and encoded again."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import html
import json
import quopri
import re
import unicodedata
import zlib
from typing import Any
from urllib.parse import quote

import brotli
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anonymizer.jwt_tokens import TEST_KEY

EMAIL = "alice.anderson@corp.com"
LOGIN = "aliceanders"
JSON = (b"Content-Type", b"application/json")


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unescape_all(text: str) -> str:
    return "".join(chr(int(text[at + 2 : at + 6], 16)) for at in range(0, len(text), 6))


COUNT = b"".join(b"%d words, " % number for number in range(12))


def wide(text: str) -> str:
    return "".join(chr(ord(char) + 0xFEE0) for char in text)


def hex_of(text: str) -> str:
    return bytes(int(part, 16) for part in re.findall("[0-9A-Fa-f]{2}", text.replace("0x", " "))).decode()


def packed(pack: Any) -> Any:
    return lambda v: base64.b64encode(pack(json.dumps({"e": v}).encode())).decode()


def unpacked(unpack: Any) -> Any:
    return lambda v: json.loads(unpack(base64.b64decode(v)))["e"]


ENCODINGS: dict[str, tuple[Any, Any]] = {
    "plain": (lambda v: v, lambda v: v),
    "sentence": (lambda v: f"write to {v}, please.", lambda v: v[9:-9]),
    "upper case": (str.upper, str.lower),
    "percent": (lambda v: quote(v, safe=""), lambda v: v.replace("%40", "@")),
    "all percent": (
        lambda v: "".join(f"%{byte:02X}" for byte in v.encode()),
        lambda v: v.replace("%40", "@"),
    ),
    "double percent": (lambda v: quote(quote(v, safe=""), safe=""), lambda v: v.replace("%2540", "@")),
    "base64": (lambda v: base64.b64encode(v.encode()).decode(), lambda v: base64.b64decode(v).decode()),
    "base64 of JSON": (
        lambda v: base64.b64encode(json.dumps({"e": v}).encode()).decode(),
        lambda v: json.loads(base64.b64decode(v))["e"],
    ),
    "base64url": (segment, lambda v: json.loads(base64.urlsafe_b64decode(v + "=" * (-len(v) % 4)))),
    "hex": (lambda v: v.encode().hex(), lambda v: bytes.fromhex(v).decode()),
    "JSON in a string": (lambda v: json.dumps({"e": [v]}), lambda v: json.loads(v)["e"][0]),
    "JSON in JSON in a string": (
        lambda v: json.dumps({"e": json.dumps({"f": v})}),
        lambda v: json.loads(json.loads(v)["e"])["f"],
    ),
    "URL query": (lambda v: f"https://x.test/p?u={quote(v)}&n=1", lambda v: v[19:-4].replace("%40", "@")),
    "URL path": (lambda v: f"https://x.test/p/{quote(v)}/q", lambda v: v[17:-2].replace("%40", "@")),
    "entities": (lambda v: v.replace("@", "&#64;"), html.unescape),
    "hex entities": (lambda v: v.replace("@", "&#x40;"), html.unescape),
    "unicode escapes": (lambda v: v.replace("@", "\\u0040"), lambda v: v.replace("\\u0040", "@")),
    "angle brackets": (lambda v: f"Alice <{v}>", lambda v: v[7:-1]),
    "base64 in lines": (
        lambda v: base64.encodebytes(COUNT + v.encode()).decode(),
        lambda v: base64.decodebytes(v.encode())[len(COUNT) :].decode(),
    ),
    "quoted-printable": (
        lambda v: "".join(f"={byte:02X}" for byte in f"to {v}".encode()),
        lambda v: quopri.decodestring(v).decode()[3:],
    ),
    "quoted-printable with soft breaks": (
        lambda v: f"to {v[:6]}=\r\n{v[6:]} =C3=A4",
        lambda v: quopri.decodestring(v).decode()[3:-2],
    ),
    "base85": (lambda v: base64.b85encode(v.encode()).decode(), lambda v: base64.b85decode(v).decode()),
    "base85 of Adobe": (
        lambda v: base64.a85encode(v.encode(), adobe=True).decode(),
        lambda v: base64.a85decode(v, adobe=True).decode(),
    ),
    "octal": (
        lambda v: "".join(f"\\{byte:03o}" for byte in v.encode()),
        lambda v: json.loads(f'"{v}"'),
    ),
    "unicode escapes with braces": (
        lambda v: "".join(f"\\u{{{ord(char):x}}}" for char in v),
        lambda v: json.loads(f'"{v}"'),
    ),
    "hex with spaces": (lambda v: v.encode().hex(" "), lambda v: bytes.fromhex(v).decode()),
    "hex with colons": (lambda v: v.encode().hex(":").upper(), hex_of),
    "hex of C": (lambda v: "0x" + v.encode().hex("_").replace("_", ", 0x"), hex_of),
    "numbers of bytes": (
        lambda v: str(list(v.encode())),
        lambda v: bytes(json.loads(f"[{v.strip('[]')}]")).decode(),
    ),
    "soft hyphens": (lambda v: v[:4] + "\u00ad" + v[4:], lambda v: v.replace("\u00ad", "")),
    "spaces of no width": ("\u200b".join, lambda v: v.replace("\u200b", "")),
    "wide letters": (wide, lambda v: unicodedata.normalize("NFKC", v)),
    "gzip in base64": (packed(gzip.compress), unpacked(gzip.decompress)),
    "raw deflate in base64": (
        packed(lambda v: zlib.compress(v, wbits=-15)),
        unpacked(lambda v: zlib.decompress(v, -15)),
    ),
    "Brotli in base64": (packed(brotli.compress), unpacked(brotli.decompress)),
    "Latin letters in base64": (
        lambda v: base64.b64encode(f"M\u00fcller {v}".encode("latin-1")).decode(),
        lambda v: base64.b64decode(v).decode("latin-1")[7:],
    ),
    "bytes around it in base64": (
        lambda v: base64.b64encode(b"\x07\xfe\x9b\x00" + v.encode() + b"\x00\xff").decode(),
        lambda v: base64.b64decode(v)[4:-2].decode(),
    ),
    "user name of a URL": (lambda v: f"https://{quote(v)}@h.test/", lambda v: v[8:-8].replace("%40", "@")),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_an_address_in_an_encoding(name: str, make_exchange: Any, anonymized: Any) -> None:
    """The stand-in inside an encoding is the one that stands in plain text elsewhere."""
    encode, decode = ENCODINGS[name]
    body = json.dumps({"plain": EMAIL, "encoded": encode(EMAIL)}).encode()
    new = json.loads(anonymized(make_exchange(headers=(JSON,), body=body)).exchanges[0].request.body)
    assert decode(new["encoded"]) == new["plain"] != EMAIL


@pytest.mark.parametrize("digest", ["md5", "sha1", "sha256"])
def test_hashes_of_addresses(digest: str, make_exchange: Any, anonymized: Any) -> None:
    """The hash of an address, as avatar services use it, becomes the hash of its stand-in."""
    old = hashlib.new(digest, EMAIL.encode()).hexdigest()
    body = json.dumps({"email": EMAIL, "avatar": f"https://gravatar.test/avatar/{old}?s=80"}).encode()
    new = json.loads(anonymized(make_exchange(headers=(JSON,), body=body)).exchanges[0].request.body)
    assert (
        new["avatar"]
        == f"https://gravatar.test/avatar/{hashlib.new(digest, new['email'].encode()).hexdigest()}?s=80"
    )


def test_json_escapes_of_untouched_characters_stay(through: Any) -> None:
    """Only what changes is spelled anew: escapes, big numbers and spaces stand as they were."""
    body = b'{"a": "\\u00e9\\/ alice.anderson\\u0040corp.com \\n", "n": 1.10, "big": 12345678901234567890123}'
    new = through(headers=(JSON,), body=body).request.body
    start, stop = new.index(b"\\u00e9\\/ "), new.index(b" \\n")
    assert new[:start] == b'{"a": "'
    assert new[stop:] == b' \\n", "n": 1.10, "big": 12345678901234567890123}'
    assert json.loads(new)["a"].split()[1].endswith("example.com")


def test_basic_credentials_keep_their_form(make_exchange: Any, anonymized: Any) -> None:
    """User name and password are replaced one by one, the user name as everywhere else."""
    basic = base64.b64encode(b"aliceanders:s3cr3t:Pa55!")
    result = anonymized(
        make_exchange(0, headers=((b"Authorization", b"Basic " + basic),), body=b'{"login": "aliceanders"}')
    )
    value = result.exchanges[0].request.headers[0][1]
    user, _, password = base64.b64decode(value.removeprefix(b"Basic ")).partition(b":")
    assert json.loads(result.exchanges[0].request.body)["login"].encode() == user != b"aliceanders"
    assert len(password) == len(b"s3cr3t:Pa55!")
    assert password != b"s3cr3t:Pa55!"
    assert result.report.kinds()["credential"] == 1


def test_a_jwt_keeps_header_and_claims(make_exchange: Any, anonymized: Any) -> None:
    """Claims get the stand-ins of everywhere else, times stay, and HS256 is signed by the test key."""
    token = ".".join(
        (
            segment({"alg": "HS256", "typ": "JWT"}),
            segment({"sub": LOGIN, "email": EMAIL, "exp": 1700000000}),
            "c2ln",
        )
    ).encode()
    result = anonymized(
        make_exchange(0, headers=((b"Authorization", b"Bearer " + token), (b"Cookie", b"jwt=" + token))),
        make_exchange(1, response_body=b'{"login": "%b", "id_token": "%b"}' % (LOGIN.encode(), token)),
    )
    value = result.exchanges[0].request.headers[0][1].removeprefix(b"Bearer ")
    head, claims, signature = value.split(b".")
    data = json.loads(base64.urlsafe_b64decode(claims + b"=="))
    answer = json.loads(result.exchanges[1].outcome.body)
    assert head == token.split(b".")[0]
    assert data["exp"] == 1700000000
    assert data["sub"] == answer["login"] != LOGIN
    assert data["email"].endswith("example.com")
    assert result.exchanges[0].request.headers[1][1] == b"jwt=" + value
    assert answer["id_token"].encode() == value
    expected = hmac.new(TEST_KEY, head + b"." + claims, "sha256").digest()
    assert base64.urlsafe_b64decode(signature + b"=") == expected


def test_a_name_in_several_spellings(make_exchange: Any, anonymized: Any) -> None:
    """A full name is found with other separators, and its parts where they stand as names."""
    body = {
        "customer": {
            "first_name": "Wilhelmina",
            "last_name": "Oakenshield",
            "full_name": "Wilhelmina Oakenshield",
        },
        "slug": "wilhelmina-oakenshield",
        "file": "Wilhelmina_Oakenshield.pdf",
        "note": "Dear Wilhelmina Oakenshield,",
        "turned": "Oakenshield, Wilhelmina",
    }
    one = anonymized(make_exchange(headers=(JSON,), body=json.dumps(body).encode())).exchanges[0]
    new = json.loads(one.request.body)
    first, last = new["customer"]["first_name"], new["customer"]["last_name"]
    assert new["customer"]["full_name"] == f"{first} {last}"
    assert new["slug"] == f"{first}-{last}".lower()
    assert new["file"] == f"{first}_{last}.pdf"
    assert new["note"] == f"Dear {first} {last},"
    assert new["turned"] == f"{last}, {first}"
    assert b"oakenshield" not in one.request.body.lower()


def test_the_local_part_of_an_address(through: Any) -> None:
    """A local part counts as a user name, with the stand-in that it has in the address."""
    body = b'{"email": "gvogel77@corp.com", "sales": "sales@corp.com", "text": "~gvogel77 /sales"}'
    new = json.loads(through(headers=(JSON,), body=body).request.body)
    local = new["email"].split("@")[0]
    assert new["text"] == f"~{local} /sales"
    assert local != "gvogel77"


def test_the_name_in_an_address(through: Any) -> None:
    """The name that first.last@host tells is found where it is written out; a role is no name."""
    body = b'{"email": "wilma.oakenshield@corp.com", "role": "customer.service@corp.com", "text": "%b"}'
    text = b"From Wilma Oakenshield (oakenshield) to customer service"
    new = json.loads(through(headers=(JSON,), body=body % text).request.body)["text"]
    assert "akenshield" not in new
    assert "Wilma" not in new
    assert new.endswith("to customer service")


@pytest.mark.parametrize(
    ("login", "text", "stays"),
    [
        ("anna", "banana annals annabel", True),  # four letters count as a word of their own only
        ("anna", "by anna.", False),
        ("al", "al and also", True),  # two letters count in their own field only
        ("mountain", "a mountain bike", True),  # an English word may mean something else
        ("mountain", "see /mountain", False),
        ("aliceanders", "xaliceandersx", False),  # a long one counts inside of words
        ("github", "https://github.com", True),  # a platform is nobody
    ],
)
def test_short_and_common_values_eat_no_structure(login: str, text: str, stays: bool, through: Any) -> None:
    """How long and how ordinary a user name is decides where it counts."""
    body = json.dumps({"login": login, "text": text}).encode()
    new = json.loads(through(headers=(JSON,), body=body).request.body)
    assert (new["text"] == text) is stays
    assert (new["login"] == login) is (login == "github")


def test_structure_is_left_alone(through: Any) -> None:
    """Events, enums, versions, hashes, UUIDs, dates and impersonal URLs come through as they are."""
    body = json.dumps(
        {
            "event": "pull_request.opened",
            "state": "open",
            "version": "1.2.3.4",
            "sha": "ec26c3e57ca3a959ca5aad62de7213c562f8c821",
            "id": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "created_at": "2019-05-15T15:19:25Z",
            "updated": 1557933565,
            "amount": 10.50,
            "currency": "usd",
            "livemode": False,
            "url": "https://api.test/v1/charges?limit=10&page=2",
            "repository": {"name": "Hello-World", "full_name": "acme/hello-world"},
            "label": {"name": "bug", "color": "d73a4a"},
            "object": "charge",
            "token_type": "bearer",
            "message": "Merge branch 'main' into feature/x (100% done) &amp; more",
        }
    ).encode()
    headers = (
        (b"Host", b"api.test"),
        JSON,
        (b"User-Agent", b"GitHub-Hookshot/abc1234"),
        (b"X-GitHub-Event", b"pull_request"),
        (b"X-GitHub-Delivery", b"f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
        (b"ETag", b'W/"abc"'),
        (b"Via", b"1.1 varnish"),
    )
    one = through(headers=headers, body=body, target=b"/v1/charges/ch_123?limit=10&expand[]=customer#top")
    assert one.request.body == body
    assert one.request.headers == headers
    assert one.request.target == b"/v1/charges/ch_123?limit=10&expand[]=customer#top"


def test_multipart_bodies(through: Any) -> None:
    """Fields count by their names, file names are searched, files that are no text are blanked."""
    kind = (b"Content-Type", b"multipart/form-data; boundary=B")
    body = (
        b'--B\r\nContent-Disposition: form-data; name="login"\r\n\r\naliceanders\r\n'
        b'--B\r\nContent-Disposition: form-data; name="f"; filename="aliceanders.png"\r\n'
        b"Content-Type: image/png\r\n\r\n\x89P\x00\r\n--B--\r\nepilogue of aliceanders"
    )
    new = through(headers=(kind,), body=body).request.body
    login = new.split(b"\r\n")[3]
    assert b"alice" not in new
    assert new == body.replace(b"aliceanders", login).replace(b"\x89P\x00", bytes(3))


def test_other_charsets(through: Any) -> None:
    """A body in a charset that its header names is read and written in it."""
    kind = (b"Content-Type", b"text/plain; charset=iso-8859-1")
    new = through(headers=(kind,), body="Grüße an alice@corp.com".encode("latin-1")).request.body
    assert new.startswith("Grüße an ".encode("latin-1"))
    assert new.endswith(b".example.com")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    before=st.binary(max_size=60),
    after=st.binary(max_size=60),
    kind=st.sampled_from([b"", b"application/json", b"text/html"]),
)
@example(before=b"\x85\0\0\xba\0\0\0\0", after=b"\0\0\0\0", kind=b"")  # in MessagePack text and numbers
@example(before=b"\xdc\0\x1a\0", after=b"", kind=b"")
def test_an_address_among_arbitrary_bytes(before: bytes, after: bytes, kind: bytes, through: Any) -> None:
    """Whatever stands around an address, it does not come through and nothing fails."""
    body = before + b" " + EMAIL.encode() + b" " + after
    assert EMAIL.encode() not in through(headers=((b"Content-Type", kind),), body=body).request.body


ADDRESS = b"vashla.kowski@corp-nine.io"
CODED = base64.urlsafe_b64encode(b'{"to": "%b"}' % ADDRESS).rstrip(b"=")


@pytest.mark.parametrize("path", [b"/leave/%b", b"/m/%b/undo", b"/a_b-c/d/%b"])
def test_base64_in_a_path(path: bytes, through: Any) -> None:
    """A slash belongs to that alphabet too, yet each segment is looked at; so it is in links."""
    body = b'{"link": "https://api.test%b"}' % (path % CODED)
    one = through(target=path % CODED, headers=(JSON,), body=body)
    before, _, after = path.partition(b"%b")
    coded = one.request.target[len(before) : len(one.request.target) - len(after)]
    assert one.request.target == before + coded + after
    plain = base64.urlsafe_b64decode(coded + b"=" * (-len(coded) % 4))
    assert plain.startswith(b'{"to": "')
    assert ADDRESS not in plain
    assert one.request.body == b'{"link": "https://api.test%b"}' % one.request.target


@pytest.mark.parametrize("sign", [b"0x", b"\\\\x"])
def test_hex_after_the_sign_of_hex(sign: bytes, through: Any) -> None:
    """Ledgers write bytes as 0x..., databases as a backslash, x and digits."""
    new = through(headers=(JSON,), body=b'{"data": "%b%b"}' % (sign, ADDRESS.hex().encode())).request.body
    assert new.startswith(b'{"data": "' + sign)
    plain = bytes.fromhex(new[len(b'{"data": "' + sign) : -2].decode())
    assert plain != ADDRESS
    assert plain.endswith(b".example.com")


@pytest.mark.parametrize(
    "body",
    [
        b"{'a': 1, 'note': 'mail %b'}",
        b'{"a": 1 /* mail %b */}',
        b'{"a": 1}\n\nmail %b',
    ],
)
def test_what_is_no_json_in_json(body: bytes, through: Any) -> None:
    """Other quotes, comments and a text after the document are read as text."""
    new = through(headers=(JSON,), body=body % ADDRESS).request.body
    start, _, stop = body.partition(b"%b")
    assert new.startswith(start)
    assert new.endswith(b".example.com" + stop)


def test_the_name_of_a_file_in_gzip_goes(through: Any) -> None:
    """The head of a packed body may name a file and hold a comment, and zstd frames that nobody reads."""
    plain = b'{"a": 1}'
    packed = gzip.compress(plain)
    named = packed[:3] + b"\x08" + packed[4:10] + ADDRESS + b"\0" + packed[10:]
    assert gzip.decompress(named) == plain
    for headers in (((b"Content-Encoding", b"gzip"),), ()):
        new = through(headers=headers, body=named).request.body
        assert ADDRESS not in new
        assert gzip.decompress(new) == plain


@pytest.mark.parametrize("name", [b"Accept", b"Accept-Language", b"Connection", b"Sec-WebSocket-Key"])
def test_headers_of_the_protocol_hold_no_values_of_known_shapes(
    name: bytes, make_exchange: Any, anonymized: Any
) -> None:
    """Their words stay whoever is called like them; an address or a token among them does not."""
    result = anonymized(
        make_exchange(0, headers=(JSON,), body=b'{"login": "deflate"}'),
        make_exchange(1, headers=((name, b"deflate, gzip;q=0.5"),), method=b"PURGE"),
        make_exchange(2, headers=((name, b"x; by=%b" % ADDRESS),)),
    )
    _, words, address = result.exchanges
    assert words.request.headers == ((name, b"deflate, gzip;q=0.5"),)
    assert words.request.method == b"PURGE"
    assert address.request.headers[0][1].startswith(b"x; by=")
    assert ADDRESS not in address.request.headers[0][1]


def test_anonymizing_twice_leaks_nothing(make_exchange: Any, anonymized: Any, audited_twice: Any) -> None:
    """In every encoding the stand-in of a stand-in is another one."""
    encodings = [encode for encode, _ in ENCODINGS.values()]
    addresses = [
        f"{word}.{word[::-1]}@{word}corp.io" for word in map("wilma{:02d}x".format, range(len(encodings)))
    ]
    ones = [
        make_exchange(
            seq, headers=(JSON,), body=json.dumps({"plain": value, "encoded": encode(value)}).encode()
        )
        for seq, (value, encode) in enumerate(zip(addresses, encodings, strict=True))
    ]
    for report in audited_twice(anonymized(*ones)):
        assert report.originals > 20
        assert report.leaks == ()
        assert report.unreplaced == ()
