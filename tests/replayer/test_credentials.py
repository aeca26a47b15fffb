"""The keyring: files that only the owner reads, environment names, and no value in any error."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from captures.credentials import find_credentials
from captures.errors import UsageError
from captures.model import SignatureScheme
from replayer.cli import replay
from replayer.credentials import build_keyring

SECRET = "s3cr3t-value"


@pytest.fixture
def toml(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, mode: int = 0o600) -> Path:
        path = tmp_path / "credentials.toml"
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


def test_credentials_and_secrets_are_read(toml: Callable[..., Path]) -> None:
    """Values stand in the file or in the environment; an endpoint's secret wins over the scheme's."""
    path = toml(
        """
        [credentials]
        "bearer:3f2a9c1b7d20" = "target-token"
        "cookie:session:0a1b2c3d4e5f" = { env = "TARGET_SESSION" }
        "basic:0a1b2c3d4e5f" = "user:password"
        [secrets]
        github = { env = "GITHUB_SECRET" }
        "POST /api/hooks/{id}" = "for this endpoint"
        """
    )
    keyring = build_keyring(
        file=path,
        secrets=["slack=from the option"],
        environment={
            "TARGET_SESSION": "abc",
            "GITHUB_SECRET": "gh",
            "HOOKREEL_SECRET_STANDARD_WEBHOOKS": "sw",
        },
    )
    bearer, basic = find_credentials(((b"Authorization", b"Bearer x"), (b"Authorization", b"Basic eDp5")))
    assert keyring.value("bearer:3f2a9c1b7d20", bearer) == b"target-token"
    assert keyring.value("basic:0a1b2c3d4e5f", basic) == base64.b64encode(b"user:password")
    assert keyring.value("bearer:000000000000", bearer) is None
    assert keyring.credentials["cookie:session:0a1b2c3d4e5f"] == b"abc"
    assert keyring.secret(SignatureScheme.GITHUB, "POST /other") == b"gh"
    assert keyring.secret(SignatureScheme.GITHUB, "POST /api/hooks/{id}") == b"for this endpoint"
    assert keyring.secret(SignatureScheme.SLACK, "POST /other") == b"from the option"
    assert keyring.secret(SignatureScheme.STANDARD_WEBHOOKS, "POST /other") == b"sw"
    assert keyring.secret(SignatureScheme.STRIPE, "POST /other") is None
    assert "target-token" not in repr(keyring)


def test_a_list_has_a_value_for_each_copy(toml: Callable[..., Path]) -> None:
    """The first is that of the recorded traffic; the copies take turns."""
    path = toml('[credentials]\n"bearer:3f2a9c1b7d20" = ["a", { env = "B" }, "c"]\n')
    keyring = build_keyring(file=path, secrets=(), environment={"B": "b"})
    (bearer,) = find_credentials(((b"Authorization", b"Bearer x"),))
    found = [keyring.value("bearer:3f2a9c1b7d20", bearer, copy) for copy in range(5)]
    assert found == [b"a", b"b", b"c", b"a", b"b"]


def test_an_option_wins_over_the_file_and_the_file_over_the_environment(toml: Callable[..., Path]) -> None:
    """What is nearer to the command is meant."""
    path = toml('[secrets]\ngithub = "file"\nstripe = "file"\n')
    environment = {f"HOOKREEL_SECRET_{name}": "environment" for name in ("GITHUB", "STRIPE", "SLACK")}
    keyring = build_keyring(file=path, secrets=["github=option"], environment=environment)
    found = [keyring.secret(SignatureScheme(name), "") for name in ("github", "stripe", "slack")]
    assert found == [b"option", b"file", b"environment"]
    assert not build_keyring(file=None, secrets=(), environment={}).has_secrets


def test_a_file_that_others_can_read_is_refused_with_the_cure(toml: Callable[..., Path]) -> None:
    """The message holds the chmod to run."""
    path = toml("", mode=0o640)
    with pytest.raises(UsageError, match=f"chmod 600 {path}"):
        build_keyring(file=path, secrets=(), environment={})


@pytest.mark.parametrize(
    "text",
    [
        f'[credentials]\n"bearer:3f2a9c1b7d20" = "{SECRET}',
        f'[credentials]\n"bearer" = "{SECRET}"',
        f'[credentials]\n"bearer:3f2a9c1b7d20" = [["{SECRET}"]]',
        '[credentials]\n"bearer:3f2a9c1b7d20" = []',
        f'[credentials]\n"bearer:3f2a9c1b7d20" = "{SECRET}\\r\\nX: y"',
        '[credentials]\n"bearer:3f2a9c1b7d20" = ""',
        '[credentials]\n"bearer:3f2a9c1b7d20" = { env = "ABSENT" }',
        f'[secrets]\nunknown = "{SECRET}"',
        f'[other]\na = "{SECRET}"',
        f'credentials = "{SECRET}"',
    ],
)
def test_wrong_files_are_refused_without_quoting_values(toml: Callable[..., Path], text: str) -> None:
    """Each mistake is wrong usage, and the sentence about it holds no value."""
    path = toml(text)
    with pytest.raises(UsageError) as caught:
        build_keyring(file=path, secrets=(), environment={})
    assert SECRET not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("option", [f"unknown={SECRET}", f"github:{SECRET}", "github="])
def test_wrong_secret_options_are_refused(option: str) -> None:
    """Only known schemes with a value are taken; the value is not repeated."""
    with pytest.raises(UsageError, match="SCHEME=VALUE") as caught:
        build_keyring(file=None, secrets=[option], environment={})
    assert SECRET not in str(caught.value)


def test_absent_and_binary_files_are_refused(tmp_path: Path) -> None:
    """A file that is not there or not text is wrong usage."""
    with pytest.raises(UsageError, match="cannot be read"):
        build_keyring(file=tmp_path / "absent.toml", secrets=(), environment={})
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    binary.chmod(0o600)
    with pytest.raises(UsageError, match="not UTF-8"):
        build_keyring(file=binary, secrets=(), environment={})


def test_every_scheme_has_an_option_and_a_variable() -> None:
    """All schemes are taken from options and from the environment, and the help of replay names them."""
    for scheme in SignatureScheme:
        keyring = build_keyring(file=None, secrets=[f"{scheme}=s3cret"], environment={})
        assert keyring.secret(scheme, "POST /x") == b"s3cret"
        variable = f"HOOKREEL_SECRET_{scheme.upper().replace('-', '_')}"
        keyring = build_keyring(file=None, secrets=[], environment={variable: "s3cret"})
        assert keyring.secret(scheme, "POST /x") == b"s3cret"
        option = next(option for option in replay.params if option.name == "secret")
        assert scheme.value in (option.help or "")
