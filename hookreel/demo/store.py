"""The demo target's durable state: runs and their log lines in SQLite."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    workflow TEXT NOT NULL,
    status TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    finished_ms INTEGER
);
CREATE INDEX IF NOT EXISTS runs_of_tenant ON runs (tenant, number);
CREATE TABLE IF NOT EXISTS logs (
    run TEXT NOT NULL,
    line INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (run, line)
) WITHOUT ROWID;
"""
_COLUMNS = "id, workflow, status, requested_by, created_ms, finished_ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One workflow run; ``requested_by`` is what the webhook says of the person behind it."""

    id: str
    workflow: str
    status: str
    requested_by: dict[str, str]
    created_ms: int  # Unix time
    finished_ms: int | None

    def as_json(self) -> dict[str, Any]:
        """What the API answers for this run."""
        return {
            "id": self.id,
            "workflow": self.workflow,
            "status": self.status,
            "requested_by": self.requested_by,
            "created_ms": self.created_ms,
            "finished_ms": self.finished_ms,
        }


class Store:
    """
    Runs and log lines of all tenants.

    Calls block for some tens of microseconds (WAL, nothing is synced), so one event loop may
    make them directly. Every read takes the tenant, so no query can cross tenants by mistake.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")  # the demo's data may be lost with the machine
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the database file."""
        self._db.close()

    def add_run(
        self, run_id: str, *, tenant: str, workflow: str, requested_by: dict[str, str], now_ms: int
    ) -> bool:
        """Add a queued run; False when it is there already (a webhook that was delivered again)."""
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO runs (id, tenant, workflow, status, requested_by, created_ms)"
            " VALUES (?, ?, ?, 'queued', ?, ?)",
            (run_id, tenant, workflow, json.dumps(requested_by), now_ms),
        )
        return cursor.rowcount == 1

    def set_running(self, run_id: str) -> None:
        """Mark the run as started."""
        self._db.execute("UPDATE runs SET status = 'running' WHERE id = ?", (run_id,))

    def set_done(self, run_id: str, now_ms: int) -> None:
        """Mark the run as finished."""
        self._db.execute("UPDATE runs SET status = 'done', finished_ms = ? WHERE id = ?", (now_ms, run_id))

    def add_log(self, run_id: str, line: int, text: str) -> None:
        """Add log line number ``line``, counted from 0."""
        self._db.execute("INSERT OR IGNORE INTO logs VALUES (?, ?, ?)", (run_id, line, text))

    def run(self, tenant: str, run_id: str) -> RunRecord | None:
        """The tenant's run of that id, or None."""
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM runs WHERE id = ? AND tenant = ?",  # noqa: S608  constant columns
            (run_id, tenant),
        ).fetchone()
        return _record(row) if row else None

    def recent(self, tenant: str, limit: int) -> list[RunRecord]:
        """The tenant's newest runs, newest first."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM runs WHERE tenant = ? ORDER BY number DESC LIMIT ?",  # noqa: S608
            (tenant, limit),
        )
        return [_record(row) for row in rows]

    def logs(self, run_id: str, first_line: int) -> list[str]:
        """Log lines from number ``first_line`` on."""
        rows = self._db.execute(
            "SELECT text FROM logs WHERE run = ? AND line >= ? ORDER BY line", (run_id, first_line)
        )
        return [text for (text,) in rows]

    def stats(self, tenant: str) -> list[dict[str, Any]]:
        """Runs, finished runs and mean duration in ms for each of the tenant's workflows."""
        rows = self._db.execute(
            "SELECT workflow, COUNT(*), COUNT(finished_ms), AVG(finished_ms - created_ms)"
            " FROM runs WHERE tenant = ? GROUP BY workflow ORDER BY workflow",
            (tenant,),
        )
        return [
            {"workflow": workflow, "runs": runs, "done": done, "mean_ms": mean_ms}
            for workflow, runs, done, mean_ms in rows
        ]


def _record(row: tuple[Any, ...]) -> RunRecord:
    run_id, workflow, status, requested_by, created_ms, finished_ms = row
    return RunRecord(
        id=run_id,
        workflow=workflow,
        status=status,
        requested_by=json.loads(requested_by),
        created_ms=created_ms,
        finished_ms=finished_ms,
    )
