"""What a unit of systemd takes from a service, taken from a command: `python -m tests.packaging.sandbox UNIT COMMAND`.

There is no service manager where tests run.  The kernel's part of the hardening is applied here: NoNewPrivileges,
SystemCallFilter with its groups as systemd has them, RestrictAddressFamilies and MemoryDenyWriteExecute.
"""

import ctypes
import os
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1  # Linux 6.3
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # of classic BPF
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ERRNO with EPERM
NUMBER, FIRST_ARGUMENT = 0, 16  # offsets in struct seccomp_data


def read_unit(path: Path) -> dict[str, list[str]]:
    """Return the values of every key of a unit file, in order."""
    values: dict[str, list[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            values.setdefault(key, []).append(value)
    return values


def _calls(group: str) -> set[str]:
    """Return the system calls of a group, those of the groups in it included."""
    listed = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", group], capture_output=True, text=True, check=True
    )
    found: set[str] = set()
    for word in re.findall(r"^    (@?[\w-]+)$", listed.stdout, re.MULTILINE):
        found |= _calls(word) if word.startswith("@") else {word}
    return found


def _numbers() -> dict[str, int]:
    """Return the numbers of the system calls on this machine, as the C library's headers have them."""
    preprocessor = ["gcc", "-dM", "-E", "-include", "sys/syscall.h", "-x", "c", "/dev/null"]
    macros = subprocess.run(preprocessor, capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"^#define __NR_(\w+) (\d+)$", macros, re.MULTILINE)}


def allowed(unit: dict[str, list[str]]) -> set[str]:
    """Return the system calls that the unit lets through."""
    names: set[str] = set()
    for value in unit["SystemCallFilter"]:
        for word in value.removeprefix("~").split():
            calls = _calls(word) if word.startswith("@") else {word}
            names = names - calls if value.startswith("~") else names | calls
    return names


def _program(unit: dict[str, list[str]]) -> bytes:
    """Return the filter of a unit; calls that are not let through fail with EPERM."""
    numbers = _numbers()
    families = [getattr(socket, name) for name in " ".join(unit["RestrictAddressFamilies"]).split()]
    rules = [(LOAD, 0, 0, NUMBER)]
    for name in sorted(allowed(unit) & set(numbers)):
        if name == "socket":
            inner = [(LOAD, 0, 0, FIRST_ARGUMENT)]
            for family in families:
                inner += [(JUMP_IF_EQUAL, 0, 1, family), (RETURN, 0, 0, ALLOW)]
            inner.append((RETURN, 0, 0, REFUSE))
        else:
            inner = [(RETURN, 0, 0, ALLOW)]
        rules += [(JUMP_IF_EQUAL, 0, len(inner), numbers[name]), *inner]
    rules.append((RETURN, 0, 0, REFUSE))
    return b"".join(struct.pack("=HBBI", *rule) for rule in rules)


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("rules", ctypes.c_char_p))


def confine(unit: dict[str, list[str]]) -> None:
    """Give up, for this process and what it starts, what the unit takes; OSError if the kernel refuses."""
    rules = _program(unit)
    program = _Filter(len(rules) // 8, rules)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if unit["MemoryDenyWriteExecute"] == ["yes"] and prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
        print("sandbox: this kernel cannot deny writable code", file=sys.stderr)  # noqa: T201
    for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program))):
        if prctl(*call):
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    confine(read_unit(Path(sys.argv[1])))
    os.execv(sys.argv[2], sys.argv[2:])
