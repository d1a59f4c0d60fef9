"""A page's machine: a folder and a network of its own, in which its commands run as a reader would run them.

The network is a namespace with nothing but a loopback device, which has the documentation addresses of RFC 5737 as
well: so 127.0.0.1:5060 is free, and `192.0.2.1` is an address of this machine that is not loopback.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path
from typing import Final, Self

from tests.conftest import ROOT

PATIENCE: Final = 20.0
"Seconds until what is awaited is a failure."

_ENDLESS: Final = re.compile(r"(\w+=\S+[\s\\]+)*(\S*/)?reginfo (serve|watch|top|webhook listen)\b")
_ENDS: Final = re.compile(r" --(check-config|print-config|once|help)\b")

_UNSTABLE: Final = re.compile(r"(?<=[Ee]xpires )\d+|\b\d\d:\d\d:\d\d\b|\b[0-9a-f]{16}\b")

_KEEP_OPEN: Final = "ip link set lo up && ip address add 192.0.2.1/24 dev lo && echo up && exec sleep 600"


class NoNetwork(Exception):
    """This machine lets nobody make a network namespace."""


class Session:
    """One folder, one network, the commands that still run in it, and what they have said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[Running] = []
        self._background: list[Running] = []
        "Those that went on while the page went on; one may have ended since, having said its last words."
        self._holder = self._network()
        names = ("HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "REGINFO_REQUIRE_PEERS")
        self.environment = {name: os.environ[name] for name in names if name in os.environ}
        programs = Path(sys.executable).parent
        self.environment["PATH"] = f"{programs}:{os.environ['PATH']}:/usr/sbin"
        self.environment["PYTHONUNBUFFERED"] = "1"
        (folder / ".venv").mkdir()
        (folder / ".venv" / "bin").symlink_to(programs)
        (folder / "docs").symlink_to(ROOT / "docs")
        (folder / "benchmarks").symlink_to(ROOT / "benchmarks")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for running in reversed(self._running):
            running.end()
        with suppress(ProcessLookupError):
            self._holder.kill()
        self._holder.communicate()

    def _network(self) -> "subprocess.Popen[str]":
        refused = ""
        for options in (["--user", "--map-root-user"], []):
            command = ["unshare", *options, "--net", "sh", "-c", _KEEP_OPEN]
            holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert holder.stdout is not None
            if holder.stdout.readline().strip() == "up":
                self._enter = ["nsenter", "--target", str(holder.pid), "--net"]
                if options:
                    self._enter += ["--user", "--preserve-credentials"]
                return holder
            refused = holder.communicate()[1]
        raise NoNetwork(refused.strip())

    def inside(self, command: list[str]) -> list[str]:
        """Return the command that runs another one in this network."""
        return [*self._enter, *command]

    def run(self, command: str, shown: str) -> None:
        """Run a command and compare what it says with what is shown; without output it has to succeed.

        One that does not end by itself goes on in the background once it has said what is shown.
        """
        endless = bool(_ENDLESS.match(command)) and not _ENDS.search(command)
        if command.endswith(" &"):
            command, endless = command[:-2], True
        running = Running(self.inside(["bash", "-euo", "pipefail", "-c", command]), command, self)
        self._running.append(running)
        if endless:
            running.await_output(shown)
            self._background.append(running)
            return
        code = running.finish()
        assert "Traceback" not in running.output, running.output
        if shown.strip():
            assert same(shown, running.output), difference(command, shown, running.output)
        else:
            assert code == 0, f"{command} ended with {code}: {running.output}"

    def later(self, shown: str) -> None:
        """Wait for more output of what went on in the background, of the command begun last that says it."""
        end = time.monotonic() + PATIENCE
        while not any(running.says(shown) for running in reversed(self._background)):
            if time.monotonic() > end:
                said = "\n".join(f"$ {running.command}\n{running.output}" for running in self._background)
                raise AssertionError(f"nothing says\n{shown}\nbut\n{said}")
            time.sleep(0.02)


class Running:
    """One command and its output so far."""

    def __init__(self, arguments: list[str], command: str, session: Session) -> None:
        self.command = command
        self._log = session.folder / f".output-{time.monotonic_ns()}"
        self._read = 0
        "Octets of output that earlier parts of the page have shown."
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                arguments,
                cwd=session.folder,
                env=session.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_bytes()[self._read :].decode("utf-8", "replace")

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def says(self, shown: str) -> bool:
        """Whether the output goes on with what is shown; then what comes behind it is new."""
        octets = self._log.read_bytes()[self._read :]
        lines = octets.splitlines(keepends=True)
        for count in range(1, len(lines) + 1):
            part = b"".join(lines[:count])
            if same(shown, part.decode("utf-8", "replace")):
                self._read += len(part)
                return True
        return not shown.strip()

    def await_output(self, shown: str) -> None:
        """Wait until all that is shown was said."""
        end = time.monotonic() + PATIENCE
        while not self.says(shown):
            assert self.is_alive, f"{self.command} ended with {self._process.returncode}: {self.output}"
            assert time.monotonic() < end, difference(self.command, shown, self.output)
            time.sleep(0.02)

    def finish(self) -> int:
        """Wait for the end; return the exit code."""
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"{self.command} does not end: {self.output}") from None

    def end(self) -> None:
        """End it and what it has started, the way an operator does."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE / 4)
                return


def same(shown: str, said: str) -> bool:
    """Compare as doctest does: `...` is anything, white space is white space.

    Lifetimes, times of day and identifiers may differ.
    """
    return OutputChecker().check_output(_stable(shown), _stable(said), ELLIPSIS | NORMALIZE_WHITESPACE)


def _stable(text: str) -> str:
    return _UNSTABLE.sub("0", text.strip()) + "\n"


def difference(command: str, shown: str, said: str) -> str:
    return f"$ {command}\n--- shown\n{shown}\n--- said\n{said}"


def has(program: str) -> bool:
    """Whether a program that a page starts is on this machine."""
    return shutil.which(program) is not None or shutil.which(program, path="/usr/sbin:/usr/local/sbin") is not None
