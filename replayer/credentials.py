"""What the target accepts: credentials in place of the recorded ones, and signing secrets."""

from __future__ import annotations

import base64
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from captures.credentials import Credential, CredentialKind
from captures.errors import UsageError
from captures.model import Exchange, SignatureScheme
from captures.signatures import recognise
from replayer.minting import Minter, MintingKey, checked_key

_FINGERPRINT = re.compile(r"(?:bearer|basic|cookie:[^\s]+|api-key:[^\s]+):[0-9a-f]{12}")
_LABEL = re.compile(r"[A-Z]+ /\S*")
_SCHEMES = {scheme.value: scheme for scheme in SignatureScheme}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """
    Target values for recorded credentials, and the secrets that sign requests.

    ``credentials`` maps fingerprints (``bearer:3f2a9c1b7d20``) to the bytes that are sent, ``of_copies`` to
    those of further copies, which take turns with them;
    ``by_endpoint`` and ``by_scheme`` hold signing secrets, and the endpoint's wins. ``minting`` has the keys
    that sign tokens, by issuer.
    """

    credentials: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    of_copies: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    by_endpoint: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    by_scheme: Mapping[SignatureScheme, bytes] = field(default_factory=dict, repr=False)
    minting: Mapping[str, MintingKey] = field(default_factory=dict, repr=False)

    @property
    def has_secrets(self) -> bool:
        """Whether there is any signing secret."""
        return bool(self.by_endpoint or self.by_scheme)

    def signs(self, exchange: Exchange) -> bool:
        """
        Whether the request may change, as no signature is recorded in it or it is signed anew.

        What the anonymizer changed has no valid one.
        """
        if exchange.signing is not None:
            return True
        request = exchange.request
        recipe = recognise(request.headers)
        if recipe is None or recipe.scheme in self.by_scheme:
            return True
        asked = (request.method + b" " + request.target.partition(b"?")[0]).decode("latin-1")
        return any(_pattern(label).fullmatch(asked) for label in self.by_endpoint)

    def values(self) -> frozenset[bytes]:
        """Everything in it that must not be told."""
        found = {*self.by_endpoint.values(), *self.by_scheme.values()}
        found.update(key.key for key in self.minting.values())
        for fingerprint, value in self._pairs():
            found.add(value)
            if fingerprint.startswith("basic:"):  # user:password: the target may say either half alone
                found.update((*value.partition(b":")[::2], base64.b64encode(value)))
        return frozenset(found - {b""})

    def minter(self) -> Minter:
        """What signs tokens anew; those that the keyring gives itself stay."""
        return Minter(self.minting, kept=[value for _, value in self._pairs()])

    def _pairs(self) -> Iterator[tuple[str, bytes]]:
        """Every fingerprint with each of its values."""
        yield from self.credentials.items()
        for fingerprint, values in self.of_copies.items():
            yield from ((fingerprint, value) for value in values)

    def secret(self, scheme: SignatureScheme, endpoint: str) -> bytes | None:
        """The secret that signs requests of ``endpoint`` by ``scheme``, None without one."""
        return self.by_endpoint.get(endpoint) or self.by_scheme.get(scheme)

    def value(self, fingerprint: str, credential: Credential, copy: int = 0) -> bytes | None:
        """What ``copy`` sends instead of ``credential``, None if it is not mapped."""
        value = self.credentials.get(fingerprint)
        if copy and value is not None:
            values = (value, *self.of_copies.get(fingerprint, ()))
            value = values[copy % len(values)]
        if value is not None and credential.kind is CredentialKind.BASIC:
            return base64.b64encode(value)
        return value


@lru_cache(maxsize=1_024)
def _pattern(label: str) -> re.Pattern[str]:
    """Matches method and path of the requests that an endpoint of this label may have."""
    segments = label.partition("?")[0].split("/")
    named = (".*" if one == "**" else "[^/]+" if one[:1] == "{" else re.escape(one) for one in segments)
    return re.compile("/".join(named), re.DOTALL)


def build_keyring(*, file: Path | None, secrets: Sequence[str], environment: Mapping[str, str]) -> Keyring:
    """
    The keyring out of a credentials file, ``SCHEME=VALUE`` options and environment names.

    For one scheme an option wins over the file, and the file over ``HOOKREEL_SECRET_<SCHEME>``.

    Raises:
        UsageError: the file is open to others or wrong, or an option is; never quotes a value.

    """
    by_scheme: dict[SignatureScheme, bytes] = {}
    for name, scheme in _SCHEMES.items():
        variable = f"HOOKREEL_SECRET_{name.upper().replace('-', '_')}"
        if environment.get(variable):
            by_scheme[scheme] = os.fsencode(environment[variable])
    credentials: dict[str, tuple[bytes, ...]] = {}
    by_endpoint: dict[str, bytes] = {}
    minting: dict[str, MintingKey] = {}
    if file is not None:
        document = _read_private_toml(file)
        credentials = _read_credentials(document.get("credentials", {}), file, environment)
        minting = _read_minting(document.get("jwt", {}), file, environment)
        for name, value in _table(document.get("secrets", {}), "secrets", file).items():
            secret = _value(value, name, file, environment)
            if name in _SCHEMES:
                by_scheme[_SCHEMES[name]] = secret
            elif _LABEL.fullmatch(name):
                by_endpoint[name] = secret
            else:
                raise UsageError(
                    f"{name!r} under [secrets] in {file} is neither a scheme ({', '.join(_SCHEMES)}) "
                    "nor an endpoint label like 'POST /api/hooks/github'."
                )
    for option in secrets:
        name, equals, text = option.partition("=")
        if not equals or not text or name not in _SCHEMES:
            raise UsageError(f"--secret takes SCHEME=VALUE with a scheme of {', '.join(_SCHEMES)}.")
        by_scheme[_SCHEMES[name]] = os.fsencode(text)
    return Keyring(
        credentials={name: values[0] for name, values in credentials.items()},
        of_copies={name: values[1:] for name, values in credentials.items() if values[1:]},
        by_endpoint=by_endpoint,
        by_scheme=by_scheme,
        minting=minting,
    )


def _read_private_toml(file: Path) -> dict[str, Any]:
    try:
        mode = file.stat().st_mode
        text = file.read_text("utf-8")
    except OSError as error:
        raise UsageError(
            f"The credentials file {file} cannot be read ({error.strerror}); give a file that exists."
        ) from error
    except UnicodeDecodeError:
        raise UsageError(f"The credentials file {file} is not UTF-8 text; write it as TOML.") from None
    if mode & 0o077:
        raise UsageError(f"The credentials file {file} can be read by others; run: chmod 600 {file}")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line \d+, column \d+|at end of document", str(error))
        where = place[0] if place else "somewhere"
        # The parser's own words could quote a value, so only the place is told.
        raise UsageError(f"The credentials file {file} is not TOML {where}; correct it there.") from None
    unknown = sorted(set(document) - {"credentials", "secrets", "jwt"})
    if unknown:
        raise UsageError(f"[{unknown[0]}] in {file} is not known; use [credentials], [secrets] and [jwt].")
    return document


def _read_credentials(table: Any, file: Path, environment: Mapping[str, str]) -> dict[str, tuple[bytes, ...]]:
    """Values by fingerprint: one, or one for each copy."""
    credentials = {}
    for name, value in _table(table, "credentials", file).items():
        if not _FINGERPRINT.fullmatch(name):
            raise UsageError(
                f"{name!r} under [credentials] in {file} is not a fingerprint; copy it from hookreel info."
            )
        listed = value if isinstance(value, list) and value else [value]
        credentials[name] = tuple(_value(one, name, file, environment) for one in listed)
        if any(re.search(rb"[\x00-\x1f\x7f]", one) for one in credentials[name]):
            raise UsageError(f"The value of {name} in {file} holds a control character; correct it.")
    return credentials


def _read_minting(table: Any, file: Path, environment: Mapping[str, str]) -> dict[str, MintingKey]:
    """Keys by issuer; a key in a file of its own is named from the folder of ``file``."""
    minting = {}
    for issuer, value in _table(table, "jwt", file).items():
        where = f"The key of {issuer!r} under [jwt] in {file}"
        if isinstance(value, dict) and set(value) == {"file"} and isinstance(value["file"], str):
            path = file.parent / value["file"]
            try:
                open_to_others, key = path.stat().st_mode & 0o077, path.read_bytes()
            except OSError as error:
                raise UsageError(
                    f"{where} cannot be read ({error.strerror}); give a file that exists."
                ) from None
            if open_to_others:
                raise UsageError(f"The key file {path} can be read by others; run: chmod 600 {path}")
        else:
            key = _value(value, issuer, file, environment)
        minting[issuer] = checked_key(key, where)
    return minting


def _table(table: Any, name: str, file: Path) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise UsageError(f"{name!r} in {file} must be a table; write [{name}] and its entries below.")
    return table


def _value(value: Any, name: str, file: Path, environment: Mapping[str, str]) -> bytes:
    if isinstance(value, str) and value:
        return value.encode()
    if isinstance(value, dict) and set(value) == {"env"} and isinstance(value["env"], str):
        text = environment.get(value["env"])
        if not text:
            raise UsageError(
                f"{name!r} in {file} names the variable {value['env']}, which is not set; set it."
            )
        return os.fsencode(text)
    raise UsageError(f'The value of {name!r} in {file} must be text or {{ env = "NAME" }}; correct it.')
