"""``hookreel anonymize``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from anonymizer.audit import AuditReport
from anonymizer.audit import audit as run_audit
from anonymizer.audit_kept import KeptOnPurpose, read_kept
from anonymizer.census import UnknownFieldsError
from anonymizer.endings import tidied_when_ended
from anonymizer.policy import Policy, read_policy
from anonymizer.report import AuditResult, Report
from anonymizer.report_html import page_of
from anonymizer.report_text import full_text, summary
from anonymizer.stage import Outcome, anonymize_capture
from anonymizer.vault import KEY_PURPOSE, nothing_left, write_vault
from captures.errors import HookreelError, UsageError, WriteError
from captures.keys import create_private_file, new_key, read_key_file, write_key_file
from captures.provenance import mark_audited
from captures.reader import CaptureReader
from captures.text import clean, counted

_FILE = click.Path(path_type=Path)


class LeakError(HookreelError):
    """The audit found an original in what was about to be written."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """
    What the command line asks for.

    ``ner`` asks for names in sentences, as the policy may too. ``key_file`` and ``vault_key`` are
    keys of earlier runs; without them new ones are written beside the output and the vault.
    ``audit`` searches the result before it gets its name.
    """

    policy_path: Path | None = None
    strict: bool = False
    ner: bool = False
    key_file: Path | None = None
    report_path: Path | None = None
    vault: Path | None = None
    vault_key: Path | None = None
    audit: bool = False
    workers: int = 1


@click.command()
@click.argument("source", metavar="IN", type=_FILE)
@click.option(
    "-o", "--output", required=True, metavar="FILE", type=_FILE, help="The new capture; never overwritten."
)
@click.option(
    "--policy",
    "policy_path",
    metavar="FILE",
    type=_FILE,
    help="TOML file: what to do with which kinds and fields.",
)
@click.option(
    "--strict", is_flag=True, help="Write nothing when the policy does not name a field with unknown text."
)
@click.option(
    "--ner",
    is_flag=True,
    help="Find names of people in sentences too, by a language model (extra ner; slow).",
)
@click.option(
    "--key-file",
    metavar="FILE",
    type=_FILE,
    help="Key of an earlier run, for the same stand-ins again; without it OUTPUT.key is made.",
)
@click.option("--audit", is_flag=True, help="Search the result for all originals; on a leak write nothing.")
@click.option(
    "--vault",
    metavar="FILE",
    type=_FILE,
    help="Write what `hookreel restore` needs, encrypted, to this new file.",
)
@click.option(
    "--vault-key",
    metavar="FILE",
    type=_FILE,
    help="Key of an earlier vault for this one too; without it VAULT.key is made.",
)
@click.option(
    "--report",
    "report_path",
    metavar="FILE",
    type=_FILE,
    help="Write all counts to this new file: .html is a page, .txt text, anything else JSON.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that take the exchanges; one where rules or --strict tell fields apart.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all counts as JSON.")
@click.pass_context
@tidied_when_ended()
def anonymize(ctx: click.Context, /, source: Path, output: Path, as_json: bool, **asked: Any) -> None:
    """
    Replace what is sensitive in the capture IN by consistent stand-ins.

    The same value gets the same stand-in everywhere; shapes, links between exchanges and
    untouched bytes stay. Webhook signatures are removed and made again when a replay sends.
    No value is ever printed. Keep the key file private: who has it can recognise values.
    Exit code 3 says that nothing was written, as fields are unknown (--strict) or a value leaked (--audit).

    \b
    Example:
      hookreel anonymize staging.reel -o safe.reel --audit --report report.html
    """
    options = Options(**asked)
    try:
        outcome = run(source, output, options)
    except UnknownFieldsError as error:
        click.echo(unknown_table(error))
        click.echo(f"Error: {error}", err=True)
        ctx.exit(error.exit_code)
    for problem in outcome.problems:
        click.echo(f"Note: {source}: {problem}", err=True)
    if options.key_file is None:
        click.echo(f"Note: the key is in {key_path_of(output)}; keep it private.", err=True)
    if options.vault is not None and options.vault_key is None:
        click.echo(
            f"Note: the vault's key is in {key_path_of(options.vault)}; keep it apart from the vault.",
            err=True,
        )
    click.echo(outcome.report.as_json() if as_json else summary(outcome.report), nl=not as_json)


def unknown_table(error: UnknownFieldsError) -> str:
    """The fields that a strict policy does not name."""
    rows = [(clean(path), count) for path, count in sorted(error.fields.items())]
    return tabulate(rows, headers=["field with unknown text", "times"], disable_numparse=True)


def key_path_of(path: Path) -> Path:
    """Where the key of a run without a key file is written."""
    return path.with_name(f"{path.name}.key")


def run(source: Path, output: Path, options: Options) -> Outcome:
    """
    Anonymize as ``options`` say; files made on the way are removed on failure.

    Raises:
        UsageError: a named file is absent or would be overwritten, or the policy is wrong.
        CaptureError: ``source`` is no capture.
        WriteError: a file cannot be written.
        UnknownFieldsError: the policy is strict and does not name a field.
        LeakError: the audit found an original.

    """
    policy = read_policy(options.policy_path) if options.policy_path else Policy()
    if options.strict and policy.strict_fields is None:
        policy = replace(policy, strict_fields=())
    if options.ner:
        policy = replace(policy, prose=True)
    if options.vault_key is not None and options.vault is None:
        raise UsageError("--vault-key is the key of a vault; name that too with --vault FILE.")
    made: list[Path] = []
    try:
        key = _key(output, options.key_file, made)
        report_descriptor = None
        if options.report_path is not None:  # taken first: what cannot be written is known before the work
            report_descriptor = create_private_file(options.report_path)
            made.append(options.report_path)
        finish = _Finish(options, made)
        try:
            outcome = anonymize_capture(
                source, output, policy=policy, key=key, finish=finish, workers=options.workers
            )
        except WriteError as error:
            raise error if finish.began else nothing_left(output, error) from error
        made.append(output)
        outcome.report.audit = finish.audit
        outcome = replace(outcome, problems=(*outcome.problems, *finish.notes))
        if report_descriptor is not None and options.report_path is not None:
            _write_report(report_descriptor, options.report_path, outcome.report)
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    return outcome


class _Finish:
    """Audit and vault, between the writing of the capture and its name."""

    def __init__(self, options: Options, made: list[Path]) -> None:
        self.audit: AuditResult | None = None
        self.notes: tuple[str, ...] = ()
        self.began = False
        self._audited = options.audit
        self._kept = read_kept(options.policy_path) if options.policy_path else KeptOnPurpose()
        self._vault = options.vault
        self._vault_key = b""
        if options.vault is not None:
            if options.vault.exists():
                raise UsageError(f"{options.vault} exists already; name another file or remove it first.")
            self._vault_key = _key(options.vault, options.vault_key, made, KEY_PURPOSE)
        self._made = made

    def __call__(self, original: CaptureReader, written: Path) -> None:
        self.began = True
        with CaptureReader.open(written) as anonymized:
            if self._audited:
                found = _audited(original, anonymized, self._kept)
                self.notes = tuple(_notes(found))
                self.audit = AuditResult(
                    originals=found.originals,
                    patterns=found.patterns,
                    searched_bytes=found.searched_bytes,
                    unsearched=found.unsearched,
                    kept=found.kept_count,
                )
            if self._vault is not None:
                write_vault(self._vault, self._vault_key, original, anonymized)
                self._made.append(self._vault)
        if self.audit is not None:
            mark_audited(written)


def _audited(original: CaptureReader, anonymized: CaptureReader, kept: KeptOnPurpose) -> AuditReport:
    found = run_audit(original, anonymized, kept=kept)
    if not found.clean:
        leaks, shapes = counted(found.leak_count, "leak"), counted(found.unreplaced_count, "value")
        raise LeakError(
            f"Nothing was written, since the audit found {leaks} and {shapes} of a known shape that nothing "
            "replaced; leave --audit out and run hookreel audit IN OUT to see where, or change the policy."
        )
    return found


def _notes(found: AuditReport) -> Iterator[str]:
    """What a passed audit does not mean."""
    yield from found.notes
    if found.kept_count:
        kept = counted(found.kept_count, "value")
        yield f"The audit passed with {kept} of a known shape in the copy, since the policy keeps such."
    if found.undecodable:
        bodies = counted(found.undecodable, "body", "bodies")
        yield f"The audit searched {bodies} as stored, since the content coding cannot be undone."


def _key(path: Path, key_file: Path | None, made: list[Path], purpose: str = "key") -> bytes:
    """The key in ``key_file``, or a new one which is written beside ``path``."""
    if key_file is not None:
        return read_key_file(key_file, purpose=purpose)
    key = new_key()
    write_key_file(key_path_of(path), key, purpose=purpose)
    made.append(key_path_of(path))
    return key


_FORMATS: dict[str, Callable[[Report], str]] = {".html": page_of, ".htm": page_of, ".txt": full_text}


def _write_report(descriptor: int, path: Path, report: Report) -> None:
    write = _FORMATS.get(path.suffix.lower(), Report.as_json)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(write(report))
    except OSError as error:
        raise WriteError(f"{path} cannot be written ({error.strerror}); choose another place.") from error
