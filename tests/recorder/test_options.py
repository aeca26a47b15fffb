from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from captures.codec import exchange_row
from captures.credentials import find_credentials
from captures.encryption import ephemeral_identity
from captures.errors import UsageError
from captures.keys import new_key, write_key_file
from captures.model import CaptureHeader, Counters
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header
from recorder.account import Account
from recorder.options import (
    Choices,
    build_choices,
    open_part_of,
    open_sink,
    recording_options,
    use_open_part,
    withheld_line,
)
from recorder.rotation import Limits, part_path
from tests.recorder.made import made_exchange

TOKEN = b"a-token-that-must-not-be-written"


def header_of(choices: Choices) -> CaptureHeader:
    return new_header(source="test", started_wall_ns=7, fingerprint_salt=choices.fingerprint_salt)


def record(choices: Choices, output: Path, *, exchanges: int = 10, **options: object) -> Account:
    sink = open_sink(choices, output, header_of(choices), note=lambda _text: None, **options)
    sink.start()
    for _ in range(exchanges):
        seq = sink.saw()
        exchange = made_exchange(
            seq,
            connection=seq,
            target=b"/%d" % (seq % 2),
            headers=((b"Authorization", b"Bearer " + TOKEN), (b"X-A", b"redact-me")),
            body=bytes(30_000),
        )
        sink.offer(exchange_row(exchange))
    return sink.close(in_flight=0, connections=exchanges)


def test_without_options_everything_is_written_to_one_file(tmp_path: Path):
    """The defaults choose nothing, clean nothing and seal nothing."""
    output = tmp_path / "a.reel"
    account = record(build_choices(), output)
    assert account.counters == Counters(seen=10, written=10)
    assert account.parts == (output,)
    with CaptureReader.open(output) as reader:
        assert reader.complete
        assert reader.counters == account.counters
        assert all(TOKEN in repr(item.request.headers).encode() for item in reader.exchanges())


def test_all_choices_work_together(tmp_path: Path):
    """Conditions, redaction, withholding and sealing apply to one recording, and its account adds up."""
    identities, recipient = ephemeral_identity()
    output = tmp_path / "a.reel"
    choices = build_choices(
        match=["path=/*"],
        ignore=["path=/1"],
        redact_header=["X-A"],
        withhold_credentials=True,
        encrypt_to=[recipient],
    )
    account = record(choices, output)
    assert account.counters == Counters(seen=10, written=5, sampled_out=5)
    assert (account.withheld, account.withheld_uses) == (1, 5)
    assert "Withheld 1 credential in 5 places" in withheld_line(account)
    with CaptureReader.open(output, identities=identities) as reader:
        found = repr(list(reader.exchanges())).encode()
    assert TOKEN not in found
    assert b"redact-me" not in found


def test_parts_have_ids_of_their_own_and_one_clock_and_salt(tmp_path: Path):
    """Parts of a recording can be told apart, and merged as they were."""
    choices = replace(build_choices(), limits=Limits(rotate_bytes=1))
    account = record(choices, tmp_path / "a.reel", exchanges=3)
    assert account.parts == tuple(part_path(tmp_path / "a.reel", number) for number in (1, 2, 3))
    headers = []
    for path in account.parts:
        with CaptureReader.open(path) as reader:
            headers.append(reader.header)
    assert len({header.capture_id for header in headers}) == 3
    assert len({(header.started_wall_ns, header.fingerprint_salt) for header in headers}) == 1


def test_max_size_ends_the_recording(tmp_path: Path):
    """What does not fit is counted as sampled out, and the file is as large as allowed at most."""
    output = tmp_path / "a.reel"
    account = record(build_choices(max_size="64KiB"), output, exchanges=40_000 // 100)
    assert account.counters.written + account.counters.sampled_out == 400
    assert output.stat().st_size <= 65_536


def test_a_kept_key_gives_the_same_names_in_every_recording(tmp_path: Path):
    """With a key file a credential's fingerprint, as info shows it, is that of the recording before."""
    write_key_file(tmp_path / "key", new_key())
    names = []
    for number, key_file in enumerate((tmp_path / "key", tmp_path / "key", None)):
        output = tmp_path / f"{number}.reel"
        record(build_choices(withhold_credentials=True, key_file=key_file), output, exchanges=1)
        with CaptureReader.open(output) as reader:
            (exchange,) = reader.exchanges()
            (credential,) = find_credentials(exchange.request.headers)
            names.append(credential.fingerprint(reader.header.fingerprint_salt))
    assert names[0] == names[1]
    assert names[0] != names[2]


def test_choices_reach_another_process():
    """A worker gets the same choices, and so the same sample."""
    choices = build_choices(match=["method=POST"], sample="50%", withhold_credentials=True)
    same = pickle.loads(pickle.dumps(choices))
    assert same == choices
    decisions = [
        [selection.wants(made_exchange(n, connection=n)) for n in range(100)]
        for selection in (choices.selection(), same.selection())
        if selection is not None
    ]
    assert decisions[0] == decisions[1]


def test_keys_are_not_shown():
    """The keys of a recording are in no repr."""
    choices = build_choices(sample="50%", withhold_credentials=True)
    shown = repr(choices)
    assert repr(choices.sample_key) not in shown
    assert repr(choices.withhold_key) not in shown


def test_workers_seal_their_parts_for_the_parent():
    """Their parts can be read by the parent and the capture's own recipients; no limits are shared."""
    (_, recipient), (_, team) = ephemeral_identity(), ephemeral_identity()
    assert build_choices(encrypt_to=[team]).for_workers(2, recipient).recipients == (team, recipient)
    assert build_choices().for_workers(2, recipient).recipients == (recipient,)
    with pytest.raises(UsageError, match="--workers"):
        build_choices(max_size="1GB").for_workers(2, recipient)


@pytest.mark.parametrize(
    "options",
    [
        {"match": ["verb=GET"]},
        {"ignore": ["nothing"]},
        {"sample": "200%"},
        {"max_size": "10"},
        {"max_size": "much"},
        {"rotate_every": "5ms"},
        {"rotate_every": "often"},
        {"rotate_size": "1KiB"},
        {"redact_header": ["Host"]},
        {"encrypt_to": ["age1nonsense"]},
        {"key_file": Path("/no/such/key")},
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_a_usage_error(options: dict):
    """Every option is checked before anything is opened."""
    with pytest.raises(UsageError):
        build_choices(**options)


def test_a_command_gets_its_choices(tmp_path: Path):
    """The decorator gives a command all options as one value, and shows them in its help."""
    seen: list[Choices] = []

    @click.command()
    @click.option("--other")
    @recording_options
    def command(choices: Choices, other: str) -> None:
        """Records."""
        assert other == "x"
        seen.append(choices)

    arguments = ["--other", "x", "--match", "method=GET", "--match", "path=/x", "--rotate-every", "10m"]
    result = CliRunner().invoke(command, [*arguments, "--redact-header", "X-A"])
    assert result.exit_code == 0, result.output
    assert seen[0].match == ("method=GET", "path=/x")
    assert seen[0].limits == Limits(rotate_every_ns=600 * 10**9)
    assert seen[0].redact == ("X-A",)
    text = CliRunner().invoke(command, ["--help"]).output
    for option in (
        "--ignore",
        "--sample",
        "--max-size",
        "--rotate-size",
        "--withhold-credentials",
        "--encrypt-to",
    ):
        assert option in text


def test_a_stage_opens_the_files(tmp_path: Path):
    """What the front door puts into the context opens the capture instead of a plain writer."""
    context = click.Context(click.Command("record"))
    assert open_part_of(context) is None
    opened: list[Path] = []

    def open_part(path: Path, header: CaptureHeader) -> CaptureWriter:
        opened.append(path)
        return CaptureWriter.create(path.with_suffix(".spool"), header)

    use_open_part(context, open_part)
    account = record(build_choices(), tmp_path / "a.reel", open_part=open_part_of(context))
    assert opened == [tmp_path / "a.reel"]
    assert account.parts == (tmp_path / "a.spool",)
