"""Known values are found wherever and however they are written, and the audit agrees."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import unicodedata
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from anonymizer.audit import audit
from anonymizer.literals import automaton_of
from anonymizer.policy import Policy, parse_policy
from captures.model import Headers
from captures.reader import CaptureReader

JSON: Headers = ((b"Content-Type", b"application/json"),)
EMAIL = "jane.doe@corp-nine.io"


@pytest.fixture
def together(make_exchange: Any, anonymized: Any) -> Callable[..., Any]:
    """Anonymizes documents as bodies of one capture, audits it and gives the documents that came out."""

    def run(*documents: Any, policy: Policy | None = None, clean: bool = True) -> list[Any]:
        bodies = [json.dumps(document, ensure_ascii=False).encode() for document in documents]
        exchanges = [make_exchange(seq, headers=JSON, body=body) for seq, body in enumerate(bodies)]
        result = anonymized(*exchanges, policy=policy)
        with CaptureReader.open(result.before) as before, CaptureReader.open(result.after) as after:
            assert audit(before, after).clean is clean
        return [json.loads(one.request.body) for one in result.exchanges]

    return run


def test_a_long_repetition_is_searched_for_as_any_other_value() -> None:
    """A secret of half a million equal letters makes no automaton of the square of them."""
    engine = automaton_of([b"a" * 500_000, b"jane"])
    assert engine is not None
    assert engine.find_matches_as_indexes(b"jane" + b"a" * 500_000) == [(1, 0, 4), (0, 4, 500_004)]


def test_the_domain_of_an_address_changes_everywhere(make_exchange: Any, anonymized: Any) -> None:
    """Hosts, referrers, cookie domains, links and the bare domain get the domain that the addresses get."""
    result = anonymized(
        make_exchange(0, headers=JSON, body=json.dumps({"email": EMAIL, "label": "corp-nine"}).encode()),
        make_exchange(
            1,
            authority=b"staging.corp-nine.io:8443",
            target=b"/r?next=https%3A%2F%2Fapp.corp-nine.io%2Fx",
            headers=((b"Host", b"staging.corp-nine.io:8443"), (b"Referer", b"https://CORP-NINE.io/a")),
            response_headers=((b"Set-Cookie", b"sid=q1w2e3r4t5; Domain=corp-nine.io; Path=/"),),
            response_body=b'{"domain": "corp-nine.io", "file": "corp_nine.csv"}',
        ),
    )
    first, second = result.exchanges
    body = json.loads(first.request.body)
    domain = body["email"].partition("@")[2].encode()
    label = domain.partition(b".")[0]
    assert domain.endswith(b".example.com")
    assert body["label"].encode() == label
    assert second.request.authority == b"staging.%b:8443" % domain
    assert second.request.target == b"/r?next=https%%3A%%2F%%2Fapp.%b%%2Fx" % domain
    assert dict(second.request.headers)[b"Host"] == b"staging.%b:8443" % domain
    assert dict(second.request.headers)[b"Referer"].lower() == b"https://%b/a" % domain
    assert second.outcome.headers[0][1].endswith(b"; Domain=%b; Path=/" % domain)
    assert json.loads(second.outcome.body)["domain"].encode() == domain
    assert b"nine" not in result.everything()
    with CaptureReader.open(result.before) as before, CaptureReader.open(result.after) as after:
        assert audit(before, after).clean


def test_subdomains_of_one_organization_stay_together(together: Any) -> None:
    """Addresses in a domain and below it have stand-ins in a domain and below it."""
    (new,) = together({"a": "x.yzzq@acmelabs.com", "b": "x.yzzr@mail.acmelabs.com", "c": "eu.acmelabs.com"})
    domain = new["a"].partition("@")[2]
    assert new["b"].endswith(f"@mail.{domain}")
    assert new["c"] == f"eu.{domain}"


def test_providers_platforms_and_examples_stay(together: Any) -> None:
    """Hosts of mail providers, of platforms and of examples are nobody's."""
    hosts = {"a": "https://mail.gmail.com/x", "b": "https://api.github.com/y", "c": "api.example.com"}
    new, kept = together(
        {"e": ["q.wertz@gmail.com", "q.wertz@users.noreply.github.com", "q.wertz@example.com"]}, hosts
    )
    assert kept == hosts
    assert new["e"][2].endswith("@example.com")


def test_a_policy_keeps_domains(together: Any) -> None:
    """With domain = keep hosts stay, and so do the domains of addresses, whose local parts change."""
    policy = parse_policy({"kinds": {"domain": "keep"}}, name="x")
    (new,) = together({"email": EMAIL, "host": "app.corp-nine.io"}, policy=policy)
    assert new["host"] == "app.corp-nine.io"
    assert new["email"] != EMAIL
    assert new["email"].endswith("@corp-nine.io")


@pytest.mark.parametrize(
    ("value", "spelling"),
    [
        ({"first_name": "Józefina"}, "JÓZEFINA"),
        ({"first_name": "Józefina"}, "hi JóZEFINA!"),
        ({"first_name": "Józefina"}, unicodedata.normalize("NFD", "Józefina")),
        ({"first_name": unicodedata.normalize("NFD", "Józefina")}, "Józefina"),
        ({"first_name": "Józefina"}, "/p/jozefina"),
        ({"full_name": "JEAN-LUC D'ARTAGNANX"}, "/jean-luc-d-artagnanx"),
        ({"full_name": "Jean-Luc D'Artagnanx"}, "jeanlucdartagnanx"),
        ({"full_name": "Jean-Luc Thackeray"}, "by jean-luc"),
        ({"full_name": "Zsófia Brückner"}, "zsofia.bruckner"),
        ({"first_name": "Józefina"}, "b'J\\xc3\\xb3zefina'"),
        ({"login": "w-thackeray-99"}, "w_thackeray_99"),
        ({"login": "w-thackeray-99"}, "W.THACKERAY.99"),
        ({"email": EMAIL}, "jane.doe (at) corp-nine.io"),
        ({"email": EMAIL}, "/files/jane_doe_corp_nine_io.csv"),
        ({"phone": "(415) 555-2671"}, "415 555 2671"),
        ({"phone": "+49 30 901820"}, "49.30.901820"),
        ({"card": "4539578763621486"}, "4539_5787_6362_1486"),
        ({"address_line1": "12 Washington Avenue"}, "12-washington-avenue"),
        ({"email": EMAIL}, "jane.doe\\@corp-nine.io"),
        ({"email": "jane@acmelabs.com"}, "from AcmeLabs with love"),
        ({"email": "jane@acmelabs-systems.com"}, "acmelabs"),
        ({"iban": "DE89 3704 0044 0532 0130 00"}, "DE89370400440532013000"),
        ({"ip": "81.2.69.160"}, "160.69.2.81.in-addr.arpa"),
        ({"ip": "81.2.69.160"}, "ip-81-2-69-160.internal"),
    ],
)
def test_other_spellings(value: dict[str, str], spelling: str, together: Any) -> None:
    """Case, accents, separators, apostrophes and parts make no difference."""
    new, text = together(value, {"t": spelling})
    assert new != value
    assert text["t"] != spelling


def test_a_name_is_no_spelling_of_an_address(together: Any) -> None:
    """First name, full name and their mention agree, also where an address has the same words."""
    user = {"first_name": "Torvald", "last_name": "Lindqvist", "name": "Torvald Lindqvist"}
    (new,) = together({**user, "email": "torvald.lindqvist@corp-nine.io", "note": "TORVALD LINDQVIST"})
    assert new["name"] == f"{new['first_name']} {new['last_name']}"
    assert new["note"] == new["name"].upper()


def test_a_reverse_look_up_is_that_of_the_stand_in(together: Any) -> None:
    """The octets of the stand-in stand in reverse as those of the address did."""
    new, text = together({"ip": "81.2.69.160"}, {"ptr": "160.69.2.81.in-addr.arpa"})
    assert text["ptr"] == ".".join(reversed(new["ip"].split("."))) + ".in-addr.arpa"


@pytest.mark.parametrize(
    ("login", "text", "changes"),
    [
        ("bob", "/users/bob", True),
        ("bob", "https://github.com/bob/repo", True),
        ("bob", "@bob said hi", True),
        ("bob", "/bob.png", True),
        ("x-y", "/x-y/z", True),
        ("bob", "bobby and bob", False),
        ("bob", "@bob-smith", False),
        ("img", "/static/img/1.png", False),
        ("mountain", "the mountain", False),
        ("mountain", "/users/mountain", True),
    ],
)
def test_short_user_names(login: str, text: str, changes: bool, together: Any) -> None:
    """A login of three letters, or one that is a word, counts after a slash or an at sign alone."""
    clean = changes or len(login) == 3  # the audit counts a word that stays for a leak
    new, other = together({"login": login}, {"t": text}, clean=clean)
    assert other["t"] == (text.replace(login, new["login"]) if changes else text)


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("email", EMAIL),
        ("login", "wthackeray"),
        ("phone", "+14155552671"),
        ("full_name", "Mona-Lou Thackeray"),
    ],
)
def test_plain_hashes(algorithm: str, key: str, value: str, together: Any) -> None:
    """A hash of a known value becomes the same hash of its stand-in, in hex and in base64, whole or cut."""

    def hashes(text: str) -> list[str]:
        digest = hashlib.new(algorithm, text.encode())
        encoded = base64.b64encode(digest.digest()).decode()
        url = f"https://avatars.test/{digest.hexdigest().upper()}?s=8"
        return [digest.hexdigest(), url, encoded, encoded.rstrip("="), digest.hexdigest()[:20]]

    new, text = together({key: value}, {"h": hashes(value)})
    assert text["h"] == hashes(new[key])


@pytest.mark.parametrize(
    ("pack", "unpack"),
    [
        (lambda data: base64.b64encode(gzip.compress(data)), lambda t: gzip.decompress(base64.b64decode(t))),
        (lambda data: base64.b64encode(zlib.compress(data)), lambda t: zlib.decompress(base64.b64decode(t))),
        (
            lambda data: gzip.compress(data).hex().encode(),
            lambda t: gzip.decompress(bytes.fromhex(t.decode())),
        ),
        (base64.b32encode, base64.b32decode),
        (
            lambda data: base64.b64encode(data.decode().encode("utf-16-le")),
            lambda t: base64.b64decode(t).decode("utf-16-le").encode(),
        ),
    ],
    ids=["gzip in base64", "zlib in base64", "gzip in hex", "base32", "UTF-16 in base64"],
)
def test_packed_text(pack: Any, unpack: Any, together: Any) -> None:
    """Values in text that is packed in a field are found, and the field is packed again."""
    inner = {"user": {"login": "wthackeray", "email": EMAIL}}
    (new,) = together({"gz": pack(json.dumps(inner).encode()).decode(), "email": EMAIL, "n": 1})
    unpacked = json.loads(unpack(new["gz"].encode()))
    assert unpacked["user"]["email"] == new["email"]
    assert unpacked["user"]["login"] != "wthackeray"


def test_a_cookie_is_one_value_in_every_spelling(make_exchange: Any, anonymized: Any) -> None:
    """Quotes and percent escapes make no other value of it, in whichever order they are met."""
    result = anonymized(
        make_exchange(0, response_headers=((b"Set-Cookie", b'uid="w-thackeray-99"; Path=/'),)),
        make_exchange(1, headers=((b"Cookie", b"uid=w-thackeray-99; sid=s%3AZx9yT2sQpL7m.ab%2F12"),)),
        make_exchange(2, headers=JSON, body=b'{"session_id": "s:Zx9yT2sQpL7m.ab/12"}'),
        make_exchange(3, target=b"/r?sid=s%3AZx9yT2sQpL7m.ab/12"),
    )
    uid, sid = (pair.partition(b"=")[2] for pair in result.exchanges[1].request.headers[0][1].split(b"; "))
    assert result.exchanges[0].outcome.headers[0][1] == b'uid="%b"; Path=/' % uid
    plain = json.loads(result.exchanges[2].request.body)["session_id"]
    assert sid.decode() == quote(plain, safe="")
    assert result.exchanges[3].request.target == b"/r?sid=" + plain.replace(":", "%3A").encode()


def test_an_address_in_a_cookie_is_that_address(make_exchange: Any, anonymized: Any) -> None:
    """It gets the stand-in that it has elsewhere, escaped as it was."""
    result = anonymized(
        make_exchange(0, headers=JSON, body=json.dumps({"email": EMAIL}).encode()),
        make_exchange(1, headers=((b"Cookie", b"em=jane.doe%40corp-nine.io"),)),
    )
    new = json.loads(result.exchanges[0].request.body)["email"]
    assert result.exchanges[1].request.headers[0][1] == b"em=" + quote(new).encode()


def test_digest_credentials_keep_their_shape(through: Any) -> None:
    """The names of parameters and what is no secret stay, the user and the rest change."""
    value = b'Digest username="wthackeray", realm="api", nonce="dcd98b71", uri="/x", response="66296629"'
    new = through(headers=((b"Authorization", value),)).request.headers[0][1]
    old_parts, parts = value.split(b'"'), new.split(b'"')
    assert parts[::2] == old_parts[::2]
    changed = [old != other for old, other in zip(old_parts[1::2], parts[1::2], strict=True)]
    assert changed == [True, False, True, False, True]


def test_a_login_known_elsewhere_is_found_under_any_name(make_exchange: Any, anonymized: Any) -> None:
    """A query or form field whose name says nothing holds the stand-in too."""
    result = anonymized(
        make_exchange(0, target=b"/p?u=vashlakowski18&z=1", body=b"q=vashlakowski18&r=2"),
        make_exchange(1, headers=JSON, body=b'{"login": "vashlakowski18"}'),
    )
    login = json.loads(result.exchanges[1].request.body)["login"].encode()
    assert result.exchanges[0].request.target == b"/p?u=%b&z=1" % login
    assert result.exchanges[0].request.body == b"q=%b&r=2" % login


def test_the_words_of_a_login_are_found_alone(together: Any) -> None:
    """A robot's login with a suffix, and teams called like a part of one, tell as much as the login does."""
    login, plain = together(
        {"login": "gumcue-ettoh[ldb]"},
        {"env": "gumcue-ettoh", "team": "Gumcue", "note": "gumcues", "word": "the gumcue env"},
    )
    first, second = login["login"].removesuffix("]").replace("[", "-").split("-")[:2]
    assert plain["team"] == first.capitalize()
    assert plain["word"] == f"the {first} env"
    assert plain["env"].startswith(first)
    assert plain["note"] == "gumcues"
    assert len(second) == 5


def test_the_number_of_an_account_agrees_with_the_address_that_holds_it(together: Any) -> None:
    """Neither is replaced, so the link to an avatar still fits."""
    avatar = "https://avatars.test/u/17589555?v=4"
    (new,) = together({"email": "17589555+vashlakowski@mail.corp-nine.io", "avatar_url": avatar})
    assert new["avatar_url"] == avatar
    assert new["email"].startswith("17589555+")
