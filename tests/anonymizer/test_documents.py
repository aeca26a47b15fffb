"""Texts with fields of their own: words over tags, scripts, and what is in neither."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from anonymizer import documents
from anonymizer.detectors.base import Context
from anonymizer.policy import Action, Policy, Rule
from captures.bodies.edits import Edit, splice

EMAIL = b"wilma.thackeray@corp-nine.io"
HTML = ((b"Content-Type", b"text/html"),)


@pytest.fixture
def html(through: Any) -> Callable[..., bytes]:
    """A page as it comes out."""
    return lambda body, **options: through(response_headers=HTML, response_body=body, **options).outcome.body


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    """``data`` with ``old`` replaced in each piece that holds it."""
    edits: list[Edit] = []
    for piece in documents.pieces(data):
        at = piece.text.find(old)
        edits += piece.back([Edit(at, at + len(old), new)] if at >= 0 else [])
    return splice(data, edits)


@pytest.mark.parametrize(
    "torn",
    [
        b"<p>wilma<b>.thackeray</b>@corp-nine.io</p>",
        b"<p>hi <em>wilma</em>.thackeray@corp-nine.io, bye</p>",
        b"<p>wilma.thackeray<wbr>@corp-nine<wbr/>.io</p>",
        b'<p>wilma.<a href="/x">thackeray@corp</a><span class="y">-nine.io</span></p>',
        b"<p>wilma.<!-- -->thackeray@corp-nine.io</p>",
    ],
)
def test_an_address_over_tags(torn: bytes, html: Any) -> None:
    """It becomes what it becomes in one piece, in the first place where some of it stood."""
    new = html(torn + b"<p>" + EMAIL + b"</p>")
    whole = new[new.rindex(b"<p>") + 3 : -len(b"</p>")]
    assert whole.endswith(b".example.com")
    assert new.count(whole) == 2
    for part in (b"wilma", b"thackeray", b"corp-nine"):
        assert part not in new
    for tag in (b"<b>", b"<em>", b"<wbr>", b'<a href="/x">', b'<span class="y">', b"<!-- -->"):
        assert new.count(tag) == torn.count(tag)


def test_texts_that_only_touch_are_read_apart_too(html: Any) -> None:
    """What a page sets apart by style is no part of the address before it."""
    new = html(b"<b>" + EMAIL + b"</b><span>Admin</span>")
    assert EMAIL not in new
    assert new.endswith(b"</b><span>Admin</span>")


def test_a_torn_name_in_a_text_that_begins_without_a_tag() -> None:
    """Highlighted results of a search hold them."""
    assert changed(b"to wil<em>ma</em>.t@x.test", b"wilma", b"Jo") == b"to Jo<em></em>.t@x.test"
    assert changed(b"a < b and c > d", b"a", b"x") == b"a < b and c > d"


def test_a_rule_reaches_all_of_a_torn_text(html: Any) -> None:
    """A masked field shows nothing, whatever is found in parts of it."""
    policy = Policy(rules=(Rule(action=Action.MASK, path="response.body.note*"),))
    new = html(b"<note>from wilma<b>.thackeray</b>@corp-nine.io today</note>", policy=policy)
    assert new.translate(None, b"*") == b"<note><b></b></note>"


@pytest.mark.parametrize(
    "script",
    [
        b'window.state = {"user": {"last_name": "Grubinger"}};',
        b'window.state = {\n  "user": {\n    "last_name": "Grub\\u0069nger"\n  }\n};',
        b"f({'last_name': 'Grubinger', n: 1});",
        b'let last_name = "Grubinger";',
        b"(function () { g({last_name: 'Grubinger'}) })();",
        b'{"props": [{"last_name": "Grubinger"}]}',
    ],
)
def test_a_script_has_fields(script: bytes, html: Any) -> None:
    """Names in a page's own data are found by their keys, and the code stays."""
    new = html(b"<script>" + script + b"</script>")
    before, name, after = script.partition(b"Grubinger" if b"Grubinger" in script else b"Grub\\u0069nger")
    assert name not in new
    assert new.startswith(b"<script>" + before)
    assert new.endswith(after + b"</script>")


def test_what_a_script_holds_besides(html: Any) -> None:
    """A secret whose kind the words before it tell, an address beside a name, and numbers as numbers."""
    body = (
        b"<script>facebook_secret='0123456789abcdef0123456789abcdee';"
        b'x = {"author": {"name": "Wilma Thackeray <%b>", "phone": 4930495798, "size": 4930495799}}</script>'
    ) % EMAIL
    new = html(body)
    for value in (b"0123456789abcdef", b"Wilma", b"Thackeray", EMAIL, b"4930495798"):
        assert value not in new
    data = json.loads(new[new.index(b"x = ") + 4 : -len(b"</script>")])
    assert isinstance(data["author"]["phone"], int)
    assert data["author"]["size"] == 4930495799


def test_characters_as_they_are_keep_their_element(through: Any) -> None:
    """A name in a CDATA section is known by the element, JSON there by its own keys."""
    body = b'<r><last_name><![CDATA[Grubinger]]></last_name><j><![CDATA[{"last_name": "Grubinger"}]]></j></r>'
    new = through(headers=((b"Content-Type", b"text/xml"),), body=body).request.body
    assert b"Grubinger" not in new
    assert new.startswith(b"<r><last_name><![CDATA[")


def test_each_value_is_counted_once(make_exchange: Any, anonymized: Any) -> None:
    """A report does not count a value again that is found in several ways."""
    body = b'<p>wilma<b>.t@corp-nine.io</b></p><script>x = {"email": "x.y@corp-ten.io", "a": 1}</script>'
    report = anonymized(make_exchange(response_headers=HTML, response_body=body)).report
    assert sum(count for (kind, _, _), count in report.replaced.items() if kind == "email") == 2


def test_a_string_without_an_end_is_read_once() -> None:
    """Half a megabyte of escaped quotation marks takes no time that its square would."""
    torn = b'{"a": "' + b'\\"' * 250_000
    assert not documents.is_all_json(torn)
    assert not documents.ends_strings(torn)
    assert documents.is_all_json(torn + b'"}')
    assert documents.ends_strings(torn + b'"}')


def test_pieces_do_not_overlap() -> None:
    """Whatever is found in a piece, what is found later leaves it out."""
    data = b'<p>wilma<b>.t</b></p><script>a = {"b": "wilma", c: \'wilma\'}; wilma</script>'
    new = changed(data, b"wilma", b"X")
    assert new.count(b"wilma") == 1
    assert [piece.context for piece in documents.pieces(b"plain")] == []
    assert Context() in [piece.context for piece in documents.pieces(data)]
