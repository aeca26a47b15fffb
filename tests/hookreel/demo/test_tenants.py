from __future__ import annotations

import pytest

from captures.errors import UsageError
from hookreel.demo.tenants import read_tenants, write_tenants


def test_a_tenant_file_reads_back_and_is_private(tmp_path, tenants):
    """What is written reads back the same, from a file that only its owner can read."""
    path = tmp_path / "tenants.json"
    write_tenants(path, tenants)
    assert read_tenants(path) == tenants
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_tenants_secrets_are_not_in_its_repr(tenants):
    """Printing a tenant shows neither its token nor its secrets."""
    shown = repr(tenants)
    assert not any(tenant.token in shown for tenant in tenants)
    assert not any(secret.decode() in shown for tenant in tenants for secret in tenant.secrets.values())


def test_an_unfit_tenant_file_is_a_usage_error(tmp_path, tenants):
    """A file that is absent, open to others or of another kind is refused in one sentence."""
    path = tmp_path / "tenants.json"
    with pytest.raises(UsageError, match="cannot be read"):
        read_tenants(path)
    path.write_text("[]")
    with pytest.raises(UsageError, match="not a tenant file"):
        read_tenants(path)
    path.unlink()
    write_tenants(path, tenants)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        read_tenants(path)
