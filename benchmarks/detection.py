"""
How much the detectors find in test strings that others wrote, and how much they find in vain.

    python -m benchmarks.detection [--only secrets] [--strings FILE.jsonl]

secrets       the true and false positives in the rule tests of gitleaks, which its own generator
              makes (Go module github.com/zricethezav/gitleaks/v8, fetched and run by `go`)
in-vain       what is called a secret in ordinary files: the webhook bodies of ../shared/data, and the
              JavaScript, HTML, Markdown and JSON of whatever npm packages this machine has
strings       personal data in sentences, from ``--strings``: a JSON object a line with "entity" (the
              kind, in capitals), "text" and "values" (what must be found in it), as the tests of
              Presidio's recognisers state them. Each is tried alone and as a field named as its kind
collisions    a million values of each family; two with one stand-in would be one too many
A value counts as found when findings cover each letter and digit of it.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from anonymizer.detectors.base import Context, Finding, Kind, normal_key
from anonymizer.detectors.registry import Detectors
from anonymizer.detectors.secret_rules import rules
from anonymizer.policy import Action, Policy
from anonymizer.pseudonyms import PseudonymTable
from captures.keys import Prf

DATA = Path(__file__).parents[2] / "shared" / "data" / "github_webhooks.jsonl"
MODULE = "github.com/zricethezav/gitleaks/v8"
SECRETS = frozenset({Kind.TOKEN, Kind.CREDENTIAL, Kind.JWT})
ORDINARY_TYPES = (".js", ".mjs", ".html", ".md", ".json")
MAX_ORDINARY_BYTES = 8_000_000
MAX_FILE_BYTES = 300_000

# Put in the place of the one that checks, this prints what each rule's test says.
TELL = """package utils

import (
	"encoding/json"
	"os"

	"%s/config"
)

func tell(id string, found []string, spared []string) {
	json.NewEncoder(os.Stdout).Encode(map[string]any{"rule": id, "found": found, "spared": spared})
}

func Validate(rule config.Rule, found []string, spared []string) *config.Rule {
	tell(rule.RuleID, found, spared)
	return &rule
}

func ValidateWithPaths(rule config.Rule, found map[string]string, spared map[string]string) *config.Rule {
	var one, two []string
	for _, text := range found {
		one = append(one, text)
	}
	for _, text := range spared {
		two = append(two, text)
	}
	tell(rule.RuleID, one, two)
	return &rule
}
"""


def rule_tests() -> list[dict[str, Any]]:
    """What the tests of gitleaks' rules say is a secret and what is none; made anew in each run."""
    told = subprocess.run(
        ["go", "mod", "download", "-json", f"{MODULE}@v8.30.1"], check=True, capture_output=True, text=True
    )
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "gitleaks"
        shutil.copytree(json.loads(told.stdout)["Dir"], copy, copy_function=shutil.copyfile)
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        generator = copy / "cmd" / "generate" / "config"
        (generator / "utils" / "validate.go").write_text(TELL % MODULE)
        made = subprocess.run(
            ["go", "run", ".", str(Path(folder) / "rules.toml")],
            cwd=generator,
            check=True,
            capture_output=True,
            text=True,
        )
    return [json.loads(line) for line in made.stdout.splitlines() if line.startswith("{")]


def covered(findings: Sequence[Finding], text: bytes, start: int, stop: int) -> bool:
    """Whether ``findings`` cover every letter and digit of ``text[start:stop]``."""
    held = {at for finding in findings for at in range(finding.start, finding.stop)}
    return all(at in held or not (text[at : at + 1].isalnum() or text[at] > 127) for at in range(start, stop))


def secrets() -> list[list[object]]:
    """Recall on the rule tests, by the spans that each rule's own pattern gives."""
    detectors, by_name = Detectors(), {rule.name: rule for rule in rules()}
    found = missed = spared = in_vain = 0
    for test in rule_tests():
        rule = by_name.get(test["rule"])
        # a rule for names of files has tests without a text
        for text in filter(None, map(str.encode, test["found"] or ())):
            findings = detectors.find(text, Context())
            spans = list(rule.spans(text)) if rule else []
            # rules whose match holds more than the secret have no span of their own here
            hit = all(covered(findings, text, *span) for span in spans) if spans else bool(findings)
            found, missed = found + hit, missed + (not hit)
            if not hit:
                print(f"  missed ({test['rule']}): {text[:90]!r}")
        for text in map(str.encode, test["spared"] or ()):
            spared += 1
            in_vain += any(finding.kind in SECRETS for finding in detectors.find(text, Context()))
    return [
        ["secrets in gitleaks' rule tests", found + missed, found, f"{found / (found + missed):.2%}"],
        ["texts without one there (any rule)", spared, in_vain, f"{in_vain / spared:.1%} flagged"],
    ]


def leaves(value: Any, key: str = "", parent: str = "") -> Iterator[tuple[bytes, Context]]:
    """Every string of a JSON value with its place."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, name, key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, key, parent)
    elif isinstance(value, str):
        yield value.encode(), Context(key=normal_key(key.encode()), parent=normal_key(parent.encode()))


def ordinary_files() -> Iterator[tuple[bytes, list[tuple[bytes, Context]]]]:
    """Files of npm packages, and the texts in each."""
    roots = [Path("/usr/share/nodejs"), Path("/usr/lib/node_modules"), Path("/usr/local/lib/node_modules")]
    size_bytes = 0
    for path in sorted(path for root in roots for path in root.rglob("*") if path.suffix in ORDINARY_TYPES):
        if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            continue
        data = path.read_bytes()
        try:
            texts = list(leaves(json.loads(data))) if path.suffix == ".json" else [(data, Context())]
        except ValueError:
            continue
        yield data, texts
        size_bytes += len(data)
        if size_bytes > MAX_ORDINARY_BYTES:
            return


def in_vain() -> list[list[object]]:
    """Distinct values a file that are called secrets, by the megabyte."""
    detectors = Detectors()
    bodies = [line.encode() for line in DATA.read_text().splitlines()]
    webhooks = ((body, list(leaves(json.loads(body)["payload"]))) for body in bodies)
    rows: list[list[object]] = []
    for name, files in (("webhook bodies", webhooks), ("files of npm packages", ordinary_files())):
        size_bytes, values = 0, Counter[bytes]()
        for data, texts in files:
            size_bytes += len(data)
            found = {
                text[finding.start : finding.stop]
                for text, context in texts
                for finding in detectors.find(text, context)
                if finding.kind in SECRETS
            }
            values.update(found)
        for value, count in values.most_common(20):
            print(f"  {name}: {count} x {value[:60]!r}")
        rate = values.total() / max(1, size_bytes) * 1e6
        rows.append(
            [f"called secrets in {name}", f"{size_bytes / 1e6:.1f} MB", values.total(), f"{rate:.2f} / MB"]
        )
    return rows


def strings(path: Path) -> list[list[object]]:
    """Recall on sentences with personal data, by kind; what names nobody is counted apart."""
    detectors = Detectors()
    tests = [json.loads(line) for line in path.read_text().splitlines()]
    rows: list[list[object]] = []
    for place in ("in a field", "alone"):
        total, hits, nobodys = Counter[str](), Counter[str](), 0
        for test in tests:
            text, at = test["text"].encode(), 0
            key = test["entity"].lower() if place == "in a field" else ""
            findings = detectors.find(text, Context(key=key))
            for value in map(str.encode, test["values"]):
                start = text.index(value, at)
                at = start + len(value)
                if is_nobodys(value):
                    nobodys += 1
                    continue
                total[test["entity"]] += 1
                hit = covered(findings, text, start, at)
                hits[test["entity"]] += hit
                if not hit and key:
                    print(f"  missed ({test['entity']}): {value.decode()!r} in {test['text'][:60]!r}")
        count, found = total.total(), hits.total()
        rows.append([f"personal data {place} ({nobodys} are nobody's)", count, found, f"{found / count:.2%}"])
        rows += [[f"    {kind}", total[kind], hits[kind], ""] for kind in sorted(total) if key]
    return rows


def is_nobodys(value: bytes) -> bool:
    """Whether ``value`` is loopback, unspecified, multicast or broadcast: special addresses stay."""
    try:
        address = ipaddress.ip_address(value.decode())
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return (
        address.is_loopback
        or address.is_unspecified
        or address.is_multicast
        or str(address) == "255.255.255.255"
    )


def many(kind: Kind, count: int) -> Iterator[bytes]:
    """``count`` distinct values of ``kind``."""
    shapes = {
        Kind.EMAIL: b"person%d.name@corp%d.io",
        Kind.USERNAME: b"user-%07d",
        Kind.NAME: b"n%07d",
        Kind.PHONE: b"4915%08d",
        Kind.IP: b"",
        Kind.TOKEN: b"ghp_%020dabcdefGHIJKLMNOP",
        Kind.MAC: b"%012x",
        Kind.IBAN: b"DE89%018d",
        Kind.ID: b"usr_%010d",
    }
    for number in range(count):
        if kind is Kind.IP:
            yield str(ipaddress.IPv4Address(0x08000000 + number * 37)).encode()
        elif kind is Kind.NAME:
            letters = b"%07d" % number
            yield b"na" + bytes(byte + 49 for byte in letters)
        elif kind is Kind.EMAIL:
            yield shapes[kind] % (number, number % 1000)
        else:
            yield shapes[kind] % number


def collisions(count: int) -> list[list[object]]:
    """Stand-ins that two values share."""
    rows: list[list[object]] = []
    kinds = (
        Kind.EMAIL,
        Kind.USERNAME,
        Kind.NAME,
        Kind.PHONE,
        Kind.IP,
        Kind.TOKEN,
        Kind.MAC,
        Kind.IBAN,
        Kind.ID,
    )
    for kind in kinds:
        started = time.perf_counter()
        policy = Policy(actions=dict.fromkeys((Kind.UUID, Kind.ID), Action.PSEUDONYMISE))
        table = PseudonymTable(Prf(b"a key for this benchmark, 32 byte"), policy)
        for value in many(kind, count):
            table.add(kind, value)
        table.freeze()
        stand_ins = {table.stand_in(kind, value) for value in many(kind, count)}
        same = count - len(stand_ins)
        took_s = time.perf_counter() - started
        rows.append([f"stand-ins of {kind}", f"{count:,}", f"{same} shared", f"{took_s:.0f} s"])
    return rows


def main() -> int:
    """Run the parts that were asked for; 1 when a bound is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("secrets", "in-vain", "strings", "collisions"))
    parser.add_argument("--strings", type=Path)
    parser.add_argument("--values", type=int, default=1_000_000)
    arguments = parser.parse_args()
    parts = {
        "secrets": secrets,
        "in-vain": in_vain,
        "strings": lambda: strings(arguments.strings) if arguments.strings else [],
        "collisions": lambda: collisions(arguments.values),
    }
    rows = [row for name, part in parts.items() if arguments.only in {None, name} for row in part()]
    print(tabulate(rows, headers=["what", "of", "found", "rate"], disable_numparse=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
