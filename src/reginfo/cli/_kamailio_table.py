"""Kamailio's table `location` (version 9): its columns, and what each is for a contact of ours.

AoRs are split in user and domain there.  Instants are days of the Julian calendar in SQLite and local time in
text, both as Kamailio writes them; 0 as `expires` is a contact that never ends.
"""

import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from reginfo.errors import ReginfoError

TABLE: Final = "location"
TABLE_VERSION: Final = 9
COLUMNS: Final = {
    "ruid": "VARCHAR(64) DEFAULT '' NOT NULL UNIQUE",
    "username": "VARCHAR(64) DEFAULT '' NOT NULL",
    "domain": "VARCHAR(64) DEFAULT NULL",
    "contact": "VARCHAR(512) DEFAULT '' NOT NULL",
    "received": "VARCHAR(128) DEFAULT NULL",
    "path": "VARCHAR(512) DEFAULT NULL",
    "expires": "TIMESTAMP WITHOUT TIME ZONE DEFAULT '2030-05-28 21:32:15' NOT NULL",
    "q": "REAL DEFAULT 1.0 NOT NULL",
    "callid": "VARCHAR(255) DEFAULT 'Default-Call-ID' NOT NULL",
    "cseq": "INTEGER DEFAULT 1 NOT NULL",
    "last_modified": "TIMESTAMP WITHOUT TIME ZONE DEFAULT '2000-01-01 00:00:01' NOT NULL",
    "flags": "INTEGER DEFAULT 0 NOT NULL",
    "cflags": "INTEGER DEFAULT 0 NOT NULL",
    "user_agent": "VARCHAR(255) DEFAULT '' NOT NULL",
    "socket": "VARCHAR(64) DEFAULT NULL",
    "methods": "INTEGER DEFAULT NULL",
    "instance": "VARCHAR(255) DEFAULT NULL",
    "reg_id": "INTEGER DEFAULT 0 NOT NULL",
    "server_id": "INTEGER DEFAULT 0 NOT NULL",
    "connection_id": "INTEGER DEFAULT 0 NOT NULL",
    "keepalive": "INTEGER DEFAULT 0 NOT NULL",
    "partition": "INTEGER DEFAULT 0 NOT NULL",
}
"Column -> its type in SQLite; beside them stands a primary key `id`."

METHODS: Final = (
    *("INVITE", "CANCEL", "ACK", "BYE", "INFO", "REGISTER", "SUBSCRIBE"),
    *("NOTIFY", "MESSAGE", "OPTIONS", "PRACK", "UPDATE", "REFER", "PUBLISH"),
)
"Methods by the bit they have in the column `methods`."
ALL_METHODS: Final = 2**32 - 1

ROWS: Final = 1000  # read or written at once
BUSY_SECONDS: Final = 10.0  # that Kamailio may take for a write of its own
UNIX_EPOCH_JD: Final = 2_440_587.5
FOREVER: Final = 2**32 - 1  # seconds: our longest lifetime, for a contact that never ends

_USER: Final = (
    "-_.!~*'()&=+$,;?/"  # beside letters and digits, what a user of a SIP URI may hold (RFC 3261 section 25.1)
)
_PARAM = re.compile(r';([^=;"]+)(?:=("(?:[^"\\]|\\.)*"|[^;]*))?')


def contact_of(row: Mapping[str, Any], default_domain: str, now: float) -> dict[str, Any]:
    """Return a row of the table as reg.import takes it; ValueError says which column cannot be used."""
    user = str(row["username"] or "")
    if not user:
        raise ValueError("username: empty")
    expires = instant_of(row["expires"], "expires")
    params = _params_of(row)
    q = _number(row, "q", -1.0)
    instance = str(row.get("instance") or "").strip("<>")
    return {
        "AoR": f"sip:{quote(user, safe=_USER)}@{row.get('domain') or default_domain}",
        "Address": str(row["contact"] or ""),
        "Expires-At": now + FOREVER if expires <= 0 else expires,
        "Q": q if q >= 0 else None,
        "Call-ID": row.get("callid") or None,
        "CSeq": int(_number(row, "cseq", 1)),
        "User-Agent": row.get("user_agent") or None,
        "Received": row.get("received") or None,
        "Path": row.get("path") or None,
        "Instance": instance or None,
        "Reg-Id": int(_number(row, "reg_id", 0)) or None,
        "Params": params or None,
        "Last-Modified": max(0.0, instant_of(row.get("last_modified"), "last_modified")),
    }


def _params_of(row: Mapping[str, Any]) -> str:
    """Return the contact parameters that stand for columns: what RFC 3840 has a word for, and Kamailio's own flags."""
    params = ""
    methods = int(_number(row, "methods", ALL_METHODS))
    named = [name for bit, name in enumerate(METHODS) if methods >> bit & 1]
    if named and methods != ALL_METHODS:
        params += f';methods="{",".join(named)}"'
    for column in ("flags", "cflags"):
        flags = int(_number(row, column, 0))
        if flags:
            params += f";kamailio-{column}={flags}"
    return params


def rows_of(registration: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a registration, as reg.export gives it, as rows of the table; each contact once, whoever told of it."""
    user, _, domain = str(registration["AoR"]).partition(":")[2].rpartition("@")
    seen = set()
    for contact in sorted(registration["Contacts"], key=lambda contact: contact["Origin"] != "local"):
        if contact["Address"] in seen:
            continue
        seen.add(contact["Address"])
        params = {name.lower(): value.strip('"') for name, value in _PARAM.findall(contact["Params"] or "")}
        yield {
            "ruid": f"reginfo-{registration['Id']}-{contact['Contact-Id']}",
            "username": unquote(user),
            "domain": domain,
            "contact": contact["Address"],
            "received": contact["Received"],
            "path": contact["Path"],
            "expires": contact["Expires-At"],
            "q": -1.0 if contact["Q"] is None else contact["Q"],
            "callid": contact["Call-ID"] or "Default-Call-ID",
            "cseq": contact["CSeq"],
            "last_modified": contact["Last-Modified"],
            "flags": _flags(params, "kamailio-flags"),
            "cflags": _flags(params, "kamailio-cflags"),
            "user_agent": contact["User-Agent"] or "",
            "socket": None,
            "methods": _methods(params.get("methods")),
            "instance": f"<{contact['Instance']}>" if contact["Instance"] else None,
            "reg_id": contact["Reg-Id"] or 0,
            "server_id": 0,
            "connection_id": -1,
            "keepalive": 0,
            "partition": 0,
        }


def _flags(params: Mapping[str, str], name: str) -> int:
    value = params.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 11 else 0


def _methods(listed: str | None) -> int | None:
    names = [name.strip().upper() for name in (listed or "").split(",")]
    return sum(1 << METHODS.index(name) for name in set(names) if name in METHODS) or None


def _number(row: Mapping[str, Any], column: str, default: float) -> float:
    value = row.get(column)
    if value is None or value == "":
        return default
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{column}: {value!r} is no number") from None


def instant_of(value: object, column: str) -> float:
    """Return what stands in a column of instants as seconds since the epoch; 0 for nothing."""
    if value is None or value == "":
        return 0.0
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError):
            try:
                value = float(value)
            except ValueError:
                raise ValueError(f"{column}: {value!r} is no instant") from None
    if not isinstance(value, int | float) or not abs(value) < 1e11:
        raise ValueError(f"{column}: {value!r} is no instant")
    # Days of the Julian calendar until the year 3000, seconds since 1970 otherwise.
    return (value - UNIX_EPOCH_JD) * 86_400 if 2_000_000 < value < 2_817_000 else float(value)


def julian(seconds: float) -> float:
    """Return an instant as SQLite's date functions, and Kamailio's db_sqlite, have it."""
    return seconds / 86_400 + UNIX_EPOCH_JD


def local_text(seconds: float) -> str:
    """Return an instant as Kamailio writes it where the database has a type for it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)


def read_sqlite(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where it stands and each row of the table in a database file; ReginfoError if there is none.

    No read lasts long enough to keep Kamailio from writing.
    """
    if not path.is_file():
        raise ReginfoError(f"{path}: no such file")
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        ) as database:
            there = [str(column[1]) for column in database.execute(f"PRAGMA table_info({TABLE})")]
            missing = {"username", "contact", "expires"} - set(there)
            if missing:
                raise ReginfoError(f"{path}: no table {TABLE} with column {min(missing)}")
            names = [name for name in COLUMNS if name in there]
            wanted = ", ".join(["rowid", *names])
            last = -(2**63)
            while True:
                found = database.execute(
                    f"SELECT {wanted} FROM {TABLE} WHERE rowid > ? ORDER BY rowid LIMIT {ROWS}", (last,)
                ).fetchall()
                if not found:
                    return
                for last, *values in found:
                    yield f"row {last}", dict(zip(names, values, strict=True))
    except sqlite3.Error as error:
        raise ReginfoError(f"{path}: {error}") from None


def rows_in(path: Path) -> int:
    """Return how many rows the table in a database file has; 0 if there is none."""
    if not path.exists():
        return 0
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        ) as database:
            if not database.execute(f"PRAGMA table_info({TABLE})").fetchall():
                return 0
            return int(database.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0])
    except sqlite3.Error as error:
        raise ReginfoError(f"{path}: {error}") from None


def write_sqlite(path: Path, rows: Iterator[Mapping[str, Any]]) -> None:
    """Replace what the table in a database file holds, all at once; file and table are made where they are missing."""
    names = list(COLUMNS)
    insert = f"INSERT INTO {TABLE} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            _make_tables(database)
            database.execute(f"DELETE FROM {TABLE}")
            batch: list[Sequence[Any]] = []
            for row in rows:
                known = {**row, "expires": julian(row["expires"]), "last_modified": julian(row["last_modified"])}
                batch.append([known[name] for name in names])
                if len(batch) == ROWS:
                    database.executemany(insert, batch)
                    batch.clear()
            database.executemany(insert, batch)
            database.execute("COMMIT")
    except sqlite3.Error as error:
        raise ReginfoError(f"{path}: {error}") from None


def _make_tables(database: sqlite3.Connection) -> None:
    """Make what Kamailio looks for, in a database that does not have it."""
    if not database.execute(f"PRAGMA table_info({TABLE})").fetchall():
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        database.execute(f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY NOT NULL, {columns})")
        database.execute(f"CREATE INDEX location_account_contact_idx ON {TABLE} (username, domain, contact)")
        database.execute(f"CREATE INDEX location_expires_idx ON {TABLE} (expires)")
        database.execute(f"CREATE INDEX location_connection_idx ON {TABLE} (server_id, connection_id)")
    database.execute(
        "CREATE TABLE IF NOT EXISTS version (id INTEGER PRIMARY KEY NOT NULL, table_name VARCHAR(32) NOT NULL, "
        "table_version INTEGER DEFAULT 0 NOT NULL, CONSTRAINT version_table_name_idx UNIQUE (table_name))"
    )
    database.execute("INSERT OR IGNORE INTO version (table_name, table_version) VALUES (?, ?)", (TABLE, TABLE_VERSION))
