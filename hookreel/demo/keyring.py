"""The credentials file for the replays: whose each recorded token is, and what to send instead."""

from __future__ import annotations

import json
import os
from pathlib import Path

from captures.credentials import find_credentials
from captures.errors import HookreelError
from captures.keys import create_private_file
from captures.reader import CaptureReader
from hookreel.demo.tenants import Tenant


def pair_credentials(original: Path, anonymized: Path, tenants: tuple[Tenant, ...]) -> dict[str, str]:
    """
    The tenant's name for each credential fingerprint of the anonymized capture.

    Both captures hold the same exchanges under the same seq, so the pseudonym at the place of
    a tenant's token is that token's.

    Raises:
        HookreelError: a tenant's token is nowhere in the capture.

    """
    names = {tenant.token.encode(): tenant.name for tenant in tenants}
    owner_of: dict[tuple[int, int], str] = {}
    with CaptureReader.open(original) as reader:
        for exchange in reader.exchanges():
            for found in find_credentials(exchange.request.headers):
                if found.value in names:
                    owner_of[exchange.seq, found.header] = names[found.value]
    paired: dict[str, str] = {}
    with CaptureReader.open(anonymized) as reader:
        salt = reader.header.fingerprint_salt
        for exchange in reader.exchanges():
            for found in find_credentials(exchange.request.headers):
                owner = owner_of.get((exchange.seq, found.header))
                if owner is not None:
                    paired[found.fingerprint(salt)] = owner
    missing = set(names.values()) - set(paired.values())
    if missing:
        raise HookreelError(f"No call with the token of {min(missing)} was recorded; run the demo again.")
    return paired


def write_keyring(path: Path, paired: dict[str, str], tenants: tuple[Tenant, ...]) -> None:
    """
    Write a credentials file (new, mode 0600) with the tokens and signing secrets of ``tenants``.

    Raises:
        UsageError: the file exists already.
        WriteError: it cannot be written.

    """
    token_of = {tenant.name: tenant.token for tenant in tenants}
    lines = ["# What the replayed-against target accepts in place of what was recorded.", "[credentials]"]
    lines += [f"{_quoted(name)} = {_quoted(token_of[owner])}  # {owner}" for name, owner in paired.items()]
    lines += ["", "[secrets]"]
    lines += [
        f"{_quoted(f'POST /api/hooks/{tenant.slug(scheme)}')} = {_quoted(secret.decode())}"
        for tenant in tenants
        for scheme, secret in tenant.secrets.items()
    ]
    with os.fdopen(create_private_file(path), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _quoted(text: str) -> str:
    return json.dumps(text)  # a JSON string is a TOML basic string
