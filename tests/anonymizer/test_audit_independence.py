"""The audit checks the anonymizer's work, so it may not use the anonymizer's code."""

from __future__ import annotations

import ast
from pathlib import Path

import anonymizer.audit

ROOM = Path(anonymizer.audit.__file__).parent
AUDIT = {path.stem for path in ROOM.glob("audit*.py")} | {"encodings"}


def test_the_audit_imports_nothing_of_what_it_checks():
    """Every module of the audit imports, of this room, only modules of the audit, and no common tables."""
    for name in sorted(AUDIT):
        for node in ast.walk(ast.parse((ROOM / f"{name}.py").read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                room, _, module_name = module.partition(".")
                assert room != "anonymizer" or module_name in AUDIT, f"{name} imports {module}"
                assert module.partition(".")[0] not in {
                    "phonenumbers",
                    "stdnum",
                    "tldextract",
                    "hyperscan",
                    "re2",
                }
                assert not module.startswith(
                    ("captures.bodies", "captures.credentials", "captures.signatures")
                )
