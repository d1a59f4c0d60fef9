"""The fenced blocks of the documentation: what they are, where they stand, and whether they can run.

A comment `<!-- first:` holds what has to be there before the next block and is of no interest to readers, as a console.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.conftest import ROOT

WRITTEN_BY_CODE: Final = ("rfc-compliance.md", "reference-*.md", "metrics.md")
"Pages that have no example of their own."

_FENCE: Final = re.compile(r"(?P<indent> *)```(?P<language>[a-z]*)(?P<rest>.*)")
_FIRST: Final = re.compile(r" *<!-- first:")
_NOT_RUN: Final = re.compile(r"\s*<!-- not run: (?P<reason>.+) -->")
_FILE: Final = re.compile(r"(?:#|//) ([\w./-]+\.[a-z]+)\b")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    "Of its first line of text, counted from 1."
    language: str
    text: str
    not_run: str
    "Why it cannot run; empty if it does."

    @property
    def file(self) -> str:
        """The name in the comment of its first line: a block that has one is that file for the rest of the page."""
        named = _FILE.match(self.text)
        return named[1] if named else ""

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Return the pages that people write, README first."""
    docs = ROOT / "docs"
    written = {path for pattern in WRITTEN_BY_CODE for path in docs.glob(pattern)}
    return [ROOT / "README.md", *sorted(path for path in docs.glob("*.md") if path not in written)]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page in order."""
    lines = page.read_text("utf-8").splitlines()
    number = 0
    reason = ""
    while number < len(lines):
        if _FIRST.fullmatch(lines[number]):
            start = number + 1
            number = lines.index("-->", start)
            yield Block(page, start + 1, "console", "\n".join(lines[start:number]) + "\n", "")
            continue
        opening = _FENCE.fullmatch(lines[number])
        if opening is None:
            marked = _NOT_RUN.fullmatch(lines[number])
            reason = marked["reason"] if marked else reason if not lines[number].strip() else ""
            number += 1
            continue
        start = number + 1
        number = start
        while lines[number].strip() != "```":
            number += 1
        text = textwrap.dedent("\n".join(lines[start:number])) + "\n"
        yield Block(page, start + 1, opening["language"], text, reason)
        reason = ""
        number += 1


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a console block, and the output it shows."""

    command: str
    shown: str
    line: int


def steps(block: Block) -> list[Step]:
    """Return the commands of a block; of a bash block each line is one, without output."""
    found: list[tuple[str, list[str], int]] = []
    continued = False
    for number, line in enumerate(block.text.splitlines(), block.line):
        if continued:
            command, shown, at = found.pop()
            found.append((f"{command}\n{line}", shown, at))
            continued = line.endswith("\\")
        elif block.language == "console" and not line.startswith("$ "):
            assert found, f"{block.where}: output before the first command"
            found[-1][1].append(line)
        elif line.strip() and not line.startswith("#"):
            found.append((line.removeprefix("$ "), [], number))
            continued = line.endswith("\\")
    return [Step(command, "\n".join(shown), number) for command, shown, number in found]
