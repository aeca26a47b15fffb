"""``hookreel replay`` with what only the front door can put together: stand-ins of the anonymizer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from captures.errors import UsageError
from captures.keys import Prf, new_key, read_key_file
from captures.model import Exchange, Provenance
from replayer import cli as replayer_cli
from replayer.identities import Identities
from replayer.keep_options import use_cleaner
from replayer.load_options import use_identities

if TYPE_CHECKING:
    from anonymizer.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Anonymizing:
    """Anonymizes responses with one key and policy, as ``hookreel anonymize`` does a capture."""

    policy: Policy
    key: bytes = field(repr=False)
    provenance: Provenance

    def __call__(self, exchanges: Sequence[Exchange]) -> Iterable[Exchange]:
        """The same exchanges in the same order, fit to be stored."""
        # The detectors take a while to import, which a run that keeps nothing should not pay.
        from anonymizer.exchanges import anonymize_exchanges  # noqa: PLC0415

        return anonymize_exchanges(exchanges, policy=self.policy, key=self.key)


def make_cleaner(key_file: Path | None, policy_file: Path | None) -> Anonymizing:
    """
    What anonymizes with the key in ``key_file``, or with one that nobody keeps.

    Raises:
        UsageError: a file cannot be read, is no key or no policy, or the policy is strict.

    """
    from anonymizer.policy import Policy, read_policy  # noqa: PLC0415

    policy = Policy() if policy_file is None else read_policy(policy_file)
    if policy.strict_fields is not None:
        raise UsageError(
            "A [strict] policy could refuse everything at the end of a run; take [strict] out of it."
        )
    key = new_key() if key_file is None else read_key_file(key_file)
    return Anonymizing(
        policy=policy,
        key=key,
        provenance=Provenance(policy=policy.name, key_fingerprint=Prf(key).fingerprint()),
    )


def make_identities(seed: int) -> Identities:
    """Customers for further copies; the detectors are loaded only when there are some."""
    from hookreel.identities import CopyIdentities  # noqa: PLC0415

    return CopyIdentities(seed)


def composed(command: click.Command) -> click.Command:
    """``command``, which can anonymize what it keeps, and make customers of copies."""
    run = command.callback
    assert run is not None

    @click.pass_context
    def callback(context: click.Context, /, **values: Any) -> Any:
        use_cleaner(context, make_cleaner)
        use_identities(context, make_identities)
        return run(**values)

    return click.Command(
        command.name,
        callback=callback,
        params=command.params,
        help=command.help,
        short_help=command.short_help,
        epilog=command.epilog,
    )


replay = composed(replayer_cli.replay)
