"""
The audit's speed on GitHub's webhooks, and whether it finds what was planted in every encoding.

    taskset -c 1 python -m benchmarks.audit [--mb 32] [--corpus deliveries] [--rounds 3]

The corpora are those of ``benchmarks.anonymize``. MB are decoded bytes of the anonymized capture
(bodies, headers and targets); rates count the CPU time of the whole audit: reading both captures,
aligning them, searching every byte, and looking for known shapes. The best of the rounds counts.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from itertools import count
from pathlib import Path

from tabulate import tabulate

from anonymizer.audit import AuditReport, audit
from anonymizer.encodings import ENCODINGS
from anonymizer.policy import Policy
from anonymizer.stage import anonymize_capture
from benchmarks.anonymize import KEY, MB, corpora, cpu_s, write_capture
from captures.reader import CaptureReader
from captures.writer import CaptureWriter

PLANTED = "Jané Dœ-Anderson+7/?~?~?@Corp-Nine.com"
"""Its spelling differs in every encoding of the table."""


def audited(before: Path, after: Path) -> AuditReport:
    """The audit of two files."""
    with CaptureReader.open(before) as original, CaptureReader.open(after) as anonymized:
        return audit(original, anonymized)


def measure(folder: Path, name: str, limit_bytes: int, rounds: int) -> tuple[object, ...]:
    """A row of the table: anonymize one corpus and audit the result."""
    before, after = folder / f"{name}.reel", folder / f"{name}.safe.reel"
    corpus = corpora()[name]
    write_capture(before, (corpus(copy) for copy in count()), limit_bytes)
    anonymize_capture(before, after, policy=Policy(), key=KEY)
    best_s = float("inf")
    for _ in range(rounds):
        start_s = cpu_s()
        report = audited(before, after)
        best_s = min(best_s, cpu_s() - start_s)
    size_mb = report.searched_bytes / MB
    rate = size_mb / best_s
    return name, f"{size_mb:.1f}", report.originals, report.leak_count, report.unreplaced_count, f"{rate:.1f}"


def planted(folder: Path) -> tuple[int, int]:
    """How many of the planted spellings were found, and how many were planted: one in each exchange."""
    value = PLANTED.encode()
    spelled = list(dict.fromkeys(text for encoding in ENCODINGS for text in encoding.patterns(value)))
    before, clean, leaky = (folder / f"planted-{name}.reel" for name in ("before", "clean", "leaky"))
    body = b'{"user":{"password":"%b","id":7}}' % value
    write_capture(before, iter([iter([(b"ping", body)] * (1 + len(spelled)))]), len(body))
    anonymize_capture(before, clean, policy=Policy(), key=KEY)
    with CaptureReader.open(clean) as reader, CaptureWriter.create(leaky, reader.header) as writer:
        for number, one in enumerate(reader.exchanges()):
            leak = b"<%b>" % spelled[number - 1] if number else b""
            note = ((b"X-Note", leak),)
            writer.write(replace(one, request=replace(one.request, headers=(*one.request.headers, *note))))
    report = audited(before, leaky)
    return len({leak.exchange for leak in report.leaks if leak.place.endswith("x-note")}), len(spelled)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mb", type=float, default=32.0)
    parser.add_argument("--corpus", choices=sorted(corpora()), action="append")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    names = arguments.corpus or list(corpora())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [measure(folder, one, int(arguments.mb * MB), arguments.rounds) for one in names]
        headers = ("corpus", "MB", "originals", "leaks", "unreplaced", "MB/s")
        print(tabulate(rows, headers=headers, disable_numparse=True))
        found, all_of_them = planted(folder)
        print(f"\nPlanted spellings found: {found} of {all_of_them}")


if __name__ == "__main__":
    main()
