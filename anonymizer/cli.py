"""``hookreel anonymize``."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click
from tabulate import tabulate

from anonymizer.policy import Policy, read_policy
from anonymizer.report import Report
from anonymizer.stage import Outcome, anonymize_capture
from captures.errors import WriteError
from captures.keys import create_private_file, new_key, read_key_file, write_key_file


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The new capture; never overwritten.",
)
@click.option(
    "--policy", "policy_path", type=click.Path(path_type=Path), help="TOML file: what to do with each kind."
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="Key of an earlier run, for the same stand-ins again; without it OUTPUT.key is made.",
)
@click.option(
    "--report", "report_path", type=click.Path(path_type=Path), help="Write all counts to this new JSON file."
)
@click.option("--json", "as_json", is_flag=True, help="Print all counts as JSON.")
def anonymize(
    source: Path,
    output: Path,
    policy_path: Path | None,
    key_file: Path | None,
    report_path: Path | None,
    as_json: bool,
) -> None:
    """
    Replace what is sensitive in the capture IN by consistent stand-ins.

    The same value gets the same stand-in everywhere; shapes, links between exchanges and
    untouched bytes stay. Webhook signatures are removed and made again when a replay sends.
    No value is ever printed. Keep the key file private: who has it can recognise values.

    \b
    Example:
      hookreel anonymize staging.reel -o safe.reel --report report.json
    """
    outcome = run(source, output, policy_path=policy_path, key_file=key_file, report_path=report_path)
    for problem in outcome.problems:
        click.echo(f"Note: {source}: {problem}", err=True)
    if key_file is None:
        click.echo(f"Note: the key is in {key_path_of(output)}; keep it private.", err=True)
    click.echo(outcome.report.as_json() if as_json else summary(outcome.report), nl=not as_json)


def key_path_of(output: Path) -> Path:
    """Where the key of a run without ``--key-file`` is written."""
    return output.with_name(f"{output.name}.key")


def run(
    source: Path,
    output: Path,
    *,
    policy_path: Path | None,
    key_file: Path | None,
    report_path: Path | None,
) -> Outcome:
    """
    Anonymize with what the command line names; files made on the way are removed on failure.

    Raises:
        UsageError: a named file is absent or would be overwritten, or the policy is wrong.
        CaptureError: ``source`` is no capture.
        WriteError: a file cannot be written.

    """
    policy = read_policy(policy_path) if policy_path else Policy()
    made: list[Path] = []
    try:
        if key_file is None:
            key, key_path = new_key(), key_path_of(output)
            write_key_file(key_path, key)
            made.append(key_path)
        else:
            key = read_key_file(key_file)
        report_descriptor = None
        if report_path is not None:  # taken first: a report that cannot be written is known before the work
            report_descriptor = create_private_file(report_path)
            made.append(report_path)
        outcome = anonymize_capture(source, output, policy=policy, key=key)
        if report_descriptor is not None:
            made.append(output)
            _write_report(report_descriptor, report_path, outcome.report)
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    return outcome


def _write_report(descriptor: int, path: Path | None, report: Report) -> None:
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(report.as_json())
    except OSError as error:
        raise WriteError(f"{path} cannot be written ({error.strerror}); choose another place.") from error


def summary(report: Report) -> str:
    """What was replaced, as a table for people."""
    rows = [[kind, count] for kind, count in report.kinds().items()]
    lines = [
        f"Exchanges: {report.exchanges}, messages: {report.messages}, "
        f"distinct values: {report.distinct_values}",
        f"Signatures to make again: {report.signatures}",
        f"Bodies that could not be read and were replaced: {sum(report.undecodable.values())}",
    ]
    if rows:
        lines.append(tabulate(rows, headers=["kind", "replaced"]))
    return "\n".join(lines)
