"""Instructions of the compiled paths under callgrind: the same on every run, so that a rise is a change of ours.

    python -m benchmarks.instructions                  prints JSON: path -> instructions each
    python -m benchmarks.instructions --against HEAD^  builds that commit, too; exits 1 if a path costs 5 % more now

Each path runs twice, the second time with more repetitions; the difference is free of what the interpreter costs to
start.  Only `reginfo.fast` is used, so that the same script measures both commits.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve()
ROOT = HERE.parent.parent
REPETITIONS = (2_000, 4_000)
MAX_RISE = 0.05

REGISTER = (
    b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK776asdhds;rport\r\n"
    b"Max-Forwards: 70\r\nFrom: Alice <sip:alice@example.com>;tag=456248\r\nTo: Alice <sip:alice@example.com>\r\n"
    b"Call-ID: 843817637684230@998sdasdh09\r\nCSeq: %d REGISTER\r\nContact: <sip:alice@192.0.2.10:5060>\r\n"
    b"Expires: 3600\r\nUser-Agent: Phone/1.0\r\nContent-Length: 0\r\n\r\n"
)
AOR = "sip:alice@example.com"
NOW_MS = 1_767_607_200_000
DOCUMENT = (
    b'<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">'
    b'<registration aor="sip:alice@example.com" id="r" state="active"><contact id="c" state="active" '
    b'event="registered" expires="3600" callid="x" cseq="1"><uri>sip:alice@192.0.2.10</uri></contact>'
    b"</registration></reginfo>"
)


def parse(count: int) -> None:
    """Read a REGISTER of ten headers and seven values of it."""
    from reginfo.fast import parse_message

    octets = REGISTER % 1
    for _ in range(count):
        message = parse_message(octets)
        assert message.top_via.host
        assert message.from_.tag
        assert message.to.uri
        assert message.call_id
        assert message.cseq
        assert message.contacts[0].uri
        assert message.expires


def decide(count: int) -> None:
    """Let a REGISTER refresh a binding, and commit it to a table."""
    from reginfo._fast.binding_table import BindingTable
    from reginfo.fast import Draft, RegisterPolicy, parse_message

    policy = RegisterPolicy(
        default_expires=3600,
        min_expires=60,
        max_expires=7200,
        jitter=0.1,
        max_contacts=10,
        replaces_oldest=False,
        max_contacts_per_request=32,
    )
    requests = [parse_message(REGISTER % number) for number in range(1, 101)]
    table = BindingTable(NOW_MS)
    record = None
    for number in range(count):
        now_ms = NOW_MS + number
        draft = Draft(AOR, record, now_ms)
        # Every hundredth comes with a lower CSeq than the last one, and is refused.
        draft.register(requests[number % 100], policy, 0, "", now_ms)
        if draft.finish("register") is not None:
            record = draft.record
            assert record is not None
            table.put(record)


def write(count: int) -> None:
    """Answer a REGISTER."""
    from reginfo.fast import parse_message, write_response

    message = parse_message(REGISTER % 1)
    headers = [("Contact", "<sip:alice@192.0.2.10:5060>;expires=3600"), ("Date", "Mon, 05 Jan 2026 10:00:00 GMT")]
    for _ in range(count):
        write_response(message, 200, to_tag="314159", headers=headers)


def read_document(count: int) -> None:
    """Read a reginfo document of one contact."""
    from reginfo.fast import parse_reginfo

    for _ in range(count):
        parse_reginfo(DOCUMENT)


PATHS: dict[str, Callable[[int], None]] = {
    "parse": parse,
    "decide and commit": decide,
    "serialize": write,
    "read document": read_document,
}


def instructions(path: str, package: Path | None) -> int:
    """Return the instructions of one repetition, with the package of a folder in front of the installed one."""
    totals = []
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    if package is not None:
        environment["PYTHONPATH"] = str(package)
    for count in REPETITIONS:
        with tempfile.TemporaryDirectory() as folder:
            command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", sys.executable]
            done = subprocess.run(
                [*command, str(HERE), path, str(count)], env=environment, capture_output=True, text=True, check=False
            )
        found = re.search(r"Collected : (\d+)", done.stderr)
        if done.returncode or found is None:
            raise SystemExit(f"{path}: {done.stderr[-1000:]}")
        totals.append(int(found[1]))
    return round((totals[1] - totals[0]) / (REPETITIONS[1] - REPETITIONS[0]))


def measured(package: Path | None = None) -> dict[str, int]:
    return {path: instructions(path, package) for path in PATHS}


def built(commit: str, folder: Path) -> Path:
    """Build another commit and return the folder its package is in."""
    tree = folder / "tree"
    subprocess.run(["git", "worktree", "add", "--detach", str(tree), commit], cwd=ROOT, check=True, capture_output=True)
    try:
        subprocess.run([sys.executable, "setup.py", "-q", "build"], cwd=tree, check=True, capture_output=True)
        (tree / "build" / "lib").rename(folder / "lib")
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True, capture_output=True)
    return folder / "lib"


def compare(commit: str) -> int:
    """Print both commits side by side; return 1 if a path has become too dear."""
    if subprocess.run(["git", "rev-parse", "--verify", "-q", commit], cwd=ROOT, check=False).returncode:
        print(f"there is no {commit} to compare with")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        before = measured(built(commit, Path(folder)))
    now = measured()
    status = 0
    for path, count in now.items():
        rise = count / before[path] - 1
        status |= rise > MAX_RISE
        print(f"{path:<20} {before[path]:>10,} {count:>10,}  {rise:+.1%}{'  too dear' if rise > MAX_RISE else ''}")
    return status


if __name__ == "__main__":
    if sys.argv[1:2] == ["--against"]:
        sys.exit(compare(sys.argv[2]))
    elif len(sys.argv) > 2:
        PATHS[sys.argv[1]](int(sys.argv[2]))
    else:
        print(json.dumps(measured(), indent=1))
