"""Words around a body that come again, and what changes among them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

JSON = (b"Content-Type", b"application/json")
LOGIN = b"aliceanders"
BODY = b'{"user": {"login": "aliceanders"}, "pad": "%b"}' % (b"x" * 300)


def test_answers_that_come_again_are_counted_each_time(make_exchange: Any, anonymized: Any) -> None:
    """A short answer with a value is replaced and counted as often as it comes, one without stays."""
    with_value, without = b'{"by":"aliceanders"}', b'{"ok":true}'
    ones = [
        make_exchange(seq, headers=(JSON,), body=BODY, response_headers=(JSON,), response_body=answer)
        for seq, answer in enumerate([with_value, without] * 3)
    ]
    result = anonymized(*ones)
    answers = [one.outcome.body for one in result.exchanges]
    assert answers[1::2] == [without] * 3
    assert len(set(answers[::2])) == 1
    assert LOGIN not in answers[0]
    rows = {row["field"]: row["count"] for row in result.report.as_dict()["fields"]}
    assert rows["response.body.by"] == 3


def test_a_value_in_a_trailer_or_a_host_goes_each_time(make_exchange: Any, anonymized: Any) -> None:
    """First lines and trailers that came before without a value hide none that has one."""
    plain = make_exchange(0, headers=(JSON,), body=BODY)
    trailers = ((b"X-By", LOGIN),)
    told = replace(plain, seq=1, offset_ns=10**6, request_end_ns=10**6 + 10)
    told = replace(told, request=replace(told.request, trailers=trailers, authority=b"aliceanders@api.test"))
    ones = [plain, told, replace(plain, seq=2, offset_ns=2 * 10**6, request_end_ns=2 * 10**6 + 10)]
    result = anonymized(*ones)
    assert LOGIN not in result.everything()
    assert result.exchanges[1].request.trailers[0][0] == b"X-By"
    assert result.exchanges[0].request.authority == result.exchanges[2].request.authority == b"api.test:8080"
