from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from mitmproxy import http
from mitmproxy.io import har as mitmproxy_har

from captures.model import Exchange, Message
from recorder.importers.intake import import_files


def document(data: bytes) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(data)["log"]
    return log


def test_document_is_har(
    variety: tuple[list[Exchange], list[Message]], write_capture: Callable[..., Path], export_bytes: Any
) -> None:
    """Every entry has the fields that HAR 1.2 requires, in its types."""
    data, notes = export_bytes(write_capture(*variety), "har")
    log = document(data)
    assert (log["version"], log["creator"]["name"]) == ("1.2", "hookreel")
    assert len(log["entries"]) == notes.exchanges == len(variety[0])
    for entry in log["entries"]:
        datetime.fromisoformat(entry["startedDateTime"])
        assert entry["time"] >= 0
        assert {"send", "wait", "receive"} <= set(entry["timings"])
        request, response = entry["request"], entry["response"]
        for name in (
            "method",
            "url",
            "httpVersion",
            "cookies",
            "headers",
            "queryString",
            "headersSize",
            "bodySize",
        ):
            assert name in request
        for name in ("status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL"):
            assert name in response
        assert isinstance(response["content"]["size"], int)


def test_text_stands_as_text(
    variety: tuple[list[Exchange], list[Message]], write_capture: Callable[..., Path], export_bytes: Any
) -> None:
    """Bodies are decoded and readable where they are text, base64 where they are not."""
    entries = document(export_bytes(write_capture(*variety), "har")[0])["entries"]
    assert entries[0]["request"]["postData"]["text"] == '{"a": "é"}'
    assert entries[1]["request"]["postData"]["encoding"] == "base64"
    assert entries[3]["response"]["content"]["text"] == "hello"
    assert entries[8]["response"]["content"]["text"] == "data: 1\n\ndata: 2\n\n"
    assert entries[7]["_webSocketMessages"][0]["data"] == '["1","phoenix"]é'


def test_what_har_has_no_place_for_is_said(
    variety: tuple[list[Exchange], list[Message]], write_capture: Callable[..., Path], export_bytes: Any
) -> None:
    """Trailers, raw bodies, events and the like are counted by exchange."""
    _, notes = export_bytes(write_capture(*variety), "har")
    assert notes.apart["trailers"] == 1
    assert notes.apart["SSE events with their times"] == 1
    assert notes.apart["signing recipes"] == 1
    assert notes.messages == 6


def test_an_edit_by_hand_wins(
    variety: tuple[list[Exchange], list[Message]],
    write_capture: Callable[..., Path],
    export_bytes: Any,
    tmp_path: Path,
    round_trip: Any,
) -> None:
    """Changing text, URL or time of an exported entry changes what is imported."""
    entries = document(export_bytes(write_capture(*variety), "har")[0])["entries"]
    entry = entries[3]
    entry["response"]["content"]["text"] = "edited"
    entry["request"]["url"] = "http://other.example/x"
    (tmp_path / "edited.har").write_text(json.dumps({"log": {"entries": [entry]}}))
    out = tmp_path / "edited.reel"
    import_files([tmp_path / "edited.har"], out)
    from captures.bodies.coding import decode
    from captures.reader import CaptureReader

    with CaptureReader.open(out) as reader:
        [back] = reader.exchanges()
    assert decode(back.outcome.body, b"gzip") == b"edited"
    assert (back.request.authority, back.request.target) == (b"other.example", b"/x")


def test_mitmproxy_reads_it(
    variety: tuple[list[Exchange], list[Message]], write_capture: Callable[..., Path], export_bytes: Any
) -> None:
    """The HAR reader of mitmproxy makes the same request and response of an entry."""
    entries = document(export_bytes(write_capture(variety[0][:1]), "har")[0])["entries"]
    flow: http.HTTPFlow = mitmproxy_har.request_to_flow(entries[0])
    assert flow.request.url == "http://127.0.0.1:8080/api/hooks/github?x=1&token=t0ps3cret"
    assert flow.request.raw_content == variety[0][0].request.body
    assert flow.response is not None
    assert (flow.response.status_code, flow.response.raw_content) == (202, b"{}")


def test_mitmproxys_own_har_is_imported(
    variety: tuple[list[Exchange], list[Message]],
    write_capture: Callable[..., Path],
    export_bytes: Any,
    tmp_path: Path,
) -> None:
    """A HAR that mitmproxy made of our flows gives the same requests, statuses and bodies."""
    import io
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from mitmproxy.addons.savehar import SaveHar
        from mitmproxy.io import FlowReader

    chosen = [variety[0][number] for number in (0, 3)]
    data, _ = export_bytes(write_capture(chosen), "mitmproxy")
    made = SaveHar().make_har(list(FlowReader(io.BytesIO(data)).stream()))
    (tmp_path / "theirs.har").write_text(json.dumps(made))
    out = tmp_path / "theirs.reel"
    import_files([tmp_path / "theirs.har"], out)
    from captures.bodies.coding import decode
    from captures.reader import CaptureReader

    with CaptureReader.open(out) as reader:
        back = list(reader.exchanges())
    assert [one.request.headers for one in back] == [one.request.headers for one in chosen]
    assert [one.request.body for one in back] == [one.request.body for one in chosen]
    assert [one.outcome.status for one in back] == [202, 202]
    assert decode(back[1].outcome.body, b"gzip") == b"hello"
