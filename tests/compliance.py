"""Write docs/rfc-compliance.md: for each requirement the code that implements it and the tests that name it.

    python -m tests.compliance          (make compliance)

A module is listed if it cites the id; if none does, the modules that the naming tests mirror.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from tests.requirements import GROUPS, REQUIREMENTS

ROOT: Final = Path(__file__).resolve().parent.parent
DOCUMENT: Final = ROOT / "docs" / "rfc-compliance.md"

ID: Final = re.compile(rf"\b(?:{'|'.join(GROUPS)})-[0-9]+\b")

_NOT_NAMING: Final = {"test_compliance.py"}  # it lists those that nothing names yet

HEAD: Final = """\
# Requirements, code and tests

Written by `make compliance`. Each requirement is a rule of an RFC, in the project's own count. *Code* cites the id or,
where nothing does, is what the tests are about; *tests* are files that name it. An empty row is not met yet, or asks
for nothing that a test could name.
"""


def named_by(folder: str, pattern: str) -> dict[str, list[Path]]:
    """Return id -> the files below folder that name it."""
    found = defaultdict(list)
    for path in sorted((ROOT / folder).rglob(pattern)):
        if path.name not in _NOT_NAMING:
            for identifier in sorted(set(ID.findall(path.read_text("utf-8")))):
                found[identifier].append(path.relative_to(ROOT))
    return dict(found)


def mirrored(test: Path) -> Path | None:
    """Return the module or room that a test file is about."""
    below = test.relative_to("tests")
    name = below.stem.removeprefix("test_")
    rooms = [Path("src/_fast") if part == "fast" else Path("src/reginfo", part) for part in below.parts[:-1]]
    room = rooms[0] if rooms else Path("src/reginfo")
    named = (path for suffix in (".pyx", ".py", "") for path in [room / f"{name}{suffix}"])
    return next((path for path in (*named, room) if (ROOT / path).exists() and path != Path("src/reginfo")), None)


@cache
def naming_tests() -> dict[str, list[Path]]:
    """Return id -> the test files that name it."""
    return named_by("tests", "test_*.py")


def written() -> str:
    """Return the document as it should be."""
    code, tests = named_by("src", "*.p*[xy]"), naming_tests()
    return "\n".join([HEAD, *_tables(code, tests)])


def _tables(code: dict[str, list[Path]], tests: dict[str, list[Path]]) -> Iterator[str]:
    for group, title in GROUPS.items():
        yield f"## {title}\n"
        yield "| requirement | | code | tests |\n|---|---|---|---|"
        for identifier, text in REQUIREMENTS.items():
            if identifier.startswith(f"{group}-"):
                naming = tests.get(identifier, [])
                modules = code.get(identifier) or _about(naming)
                yield f"| {identifier} | {text} | {_links(modules, 'src')} | {_links(naming, 'tests')} |"
        yield ""


def _about(tests: list[Path]) -> list[Path]:
    """Return the modules that tests mirror, or their rooms if none mirrors a module."""
    found = sorted({path for path in map(mirrored, tests) if path})
    return [path for path in found if path.suffix] or found


def _links(paths: list[Path], below: str) -> str:
    return ", ".join(f"[{path.relative_to(below)}](../{path})" for path in paths)


if __name__ == "__main__":
    DOCUMENT.write_text(written(), "utf-8")
