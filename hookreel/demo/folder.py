"""The one folder the demo leaves its files in, and when an old one may be replaced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from captures.errors import UsageError, WriteError

MARKER = "about-this-folder.txt"
_ABOUT = (
    "Files of one `hookreel demo`. The next demo replaces a folder that has this file and only files "
    "of a demo.\nstaging.reel and the .json and .toml files hold made-up secrets; nothing here is real.\n"
)


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """Names of everything the demo writes."""

    path: Path

    @property
    def staging(self) -> Path:
        """The capture as it was recorded."""
        return self.path / "staging.reel"

    @property
    def safe(self) -> Path:
        """The anonymized capture."""
        return self.path / "safe.reel"

    @property
    def key(self) -> Path:
        """The key of the pseudonyms."""
        return self.path / "safe.reel.key"

    @property
    def anonymize_report(self) -> Path:
        """What was replaced, as counts."""
        return self.path / "anonymize-report.json"

    @property
    def staging_tenants(self) -> Path:
        """The tenants of the recorded target."""
        return self.path / "staging-tenants.json"

    @property
    def replay_tenants(self) -> Path:
        """The tenants of the targets that are replayed against."""
        return self.path / "replay-tenants.json"

    @property
    def credentials(self) -> Path:
        """What the replays send in place of recorded credentials."""
        return self.path / "credentials.toml"

    def run(self, name: str) -> Path:
        """The run of that name: ``a1``, ``a2`` or ``b``."""
        return self.path / f"{name}.run"

    def diff(self, suffix: str) -> Path:
        """The comparison as ``md``, ``json`` or ``txt``."""
        return self.path / f"diff.{suffix}"

    def names(self) -> frozenset[str]:
        """The name of every file a demo may leave."""
        return frozenset(path.name for path in self._paths())

    def _paths(self) -> Iterator[Path]:
        yield self.path / MARKER
        yield from (self.staging, self.safe, self.key, self.anonymize_report)
        yield from (self.staging_tenants, self.replay_tenants, self.credentials)
        yield from (self.run(name) for name in ("a1", "a2", "b"))
        yield from (self.diff(suffix) for suffix in ("md", "json", "txt"))


def prepare_folder(path: Path) -> DemoFolder:
    """
    An empty demo folder at ``path``.

    A folder that is there already is used when it is empty, or when it has an earlier demo's
    marker and no file but a demo's own; those are removed. Nothing else is ever removed.

    Raises:
        UsageError: there is something else at ``path``.
        WriteError: the folder cannot be made.

    """
    folder = DemoFolder(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = sorted(path.iterdir())
        foreign = [entry.name for entry in found if entry.name not in folder.names() or entry.is_dir()]
        if found and (foreign or not (path / MARKER).is_file()):
            named = foreign[0] if foreign else found[0].name
            raise UsageError(
                f"{path} holds files that are not a demo's ({named}); name another with --folder."
            )
        for entry in found:
            with suppress(FileNotFoundError):
                entry.unlink()
        (path / MARKER).write_text(_ABOUT, "utf-8")
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path} is not a folder; name another with --folder.") from None
    except OSError as error:
        raise WriteError(
            f"The folder {path} cannot be used ({error.strerror}); name another with --folder."
        ) from error
    return folder
