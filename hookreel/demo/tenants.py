"""The demo target's tenants: a bearer token and three signing secrets each, in one private file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from captures.errors import UsageError
from captures.keys import create_private_file
from captures.model import SignatureScheme

TENANT_NAMES = ("acme", "globex")
SCHEMES = (SignatureScheme.GITHUB, SignatureScheme.STRIPE, SignatureScheme.SLACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One customer of the demo target; nothing of one tenant is visible to another."""

    name: str
    token: str = field(repr=False)
    secrets: dict[SignatureScheme, bytes] = field(repr=False)

    def slug(self, scheme: SignatureScheme) -> str:
        """The last path segment of the tenant's hook for ``scheme``, such as ``acme-github``."""
        return f"{self.name}-{scheme}"


def new_tenants(random_hex: Callable[[int], str]) -> tuple[Tenant, ...]:
    """
    Both tenants with fresh tokens and secrets.

    ``random_hex`` takes a number of bytes and returns them as hex, like ``secrets.token_hex``.
    """
    return tuple(
        Tenant(
            name=name,
            token=f"mh_{random_hex(20)}",
            secrets={
                SignatureScheme.GITHUB: random_hex(20).encode(),
                SignatureScheme.STRIPE: f"whsec_{random_hex(16)}".encode(),
                SignatureScheme.SLACK: random_hex(16).encode(),
            },
        )
        for name in TENANT_NAMES
    )


def write_tenants(path: Path, tenants: tuple[Tenant, ...]) -> None:
    """
    Write ``tenants`` to a new file with mode 0600.

    Raises:
        UsageError: the file exists already.
        WriteError: it cannot be written.

    """
    content = {
        tenant.name: {
            "token": tenant.token,
            "secrets": {str(scheme): secret.decode() for scheme, secret in tenant.secrets.items()},
        }
        for tenant in tenants
    }
    with os.fdopen(create_private_file(path), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


def read_tenants(path: Path) -> tuple[Tenant, ...]:
    """
    The tenants in ``path``.

    Raises:
        UsageError: the file is absent, open to others, or not what ``write_tenants`` writes.

    """
    try:
        mode = path.stat().st_mode
        content = json.loads(path.read_text("utf-8"))
        tenants = tuple(
            Tenant(
                name=name,
                token=entry["token"],
                secrets={
                    SignatureScheme(scheme): secret.encode() for scheme, secret in entry["secrets"].items()
                },
            )
            for name, entry in content.items()
        )
    except OSError as error:
        raise UsageError(
            f"The tenant file {path} cannot be read ({error.strerror}); give a file that exists."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{path} is not a tenant file; run the demo again to get a fresh one.") from None
    if mode & 0o077:
        raise UsageError(f"The tenant file {path} can be read by others; run: chmod 600 {path}")
    return tenants
