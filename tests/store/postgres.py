"""A real PostgreSQL in a folder of its own, reached over a Unix socket only."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest

# The server refuses to run as root.
_ACCOUNT = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}


def programs() -> Path:
    """Return the folder of the server's programs, which Debian keeps out of the PATH."""
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("postgres is not installed")
    return folders[-1]


@contextmanager
def running_postgres() -> Iterator[str]:
    """Give the address of a server that has the role and database `reginfo`."""
    pytest.importorskip("asyncpg")
    bin = programs()
    # Not below pytest's own folder, which nobody else may enter; and a socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="reginfo-postgres-"))
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

    def call(program: str, *arguments: str) -> None:
        subprocess.run(
            [bin / program, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment,
            **_ACCOUNT,  # type: ignore[call-overload]
        )

    try:
        if _ACCOUNT:
            shutil.chown(folder, "nobody", "nogroup")
        call("initdb", "-D", f"{folder}/data", "-U", "reginfo", "-A", "trust", "--no-sync")
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        call("pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options, "start")
        try:
            call("createdb", "-h", str(folder), "-U", "reginfo", "reginfo")
            yield f"postgresql://reginfo@/reginfo?{urlencode({'host': folder})}"
        finally:
            call("pg_ctl", "-D", f"{folder}/data", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
