"""Write the tables of docs/metrics.md from the descriptions that /metrics gives.

python -m tests.metric_table          (make metric-table)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reginfo.admin.metric_families import FAMILIES, KAMAILIO, Family

ROOT: Final = Path(__file__).resolve().parent.parent
DOCUMENT: Final = ROOT / "docs" / "metrics.md"

TABLES: Final = {"reginfo": FAMILIES, "kamailio": KAMAILIO}
"Name in the comment that begins a table -> what is in it."


def table(families: Sequence[Family]) -> str:
    """Return families as a table, in the order of the exposition."""
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append(f"| `{family.name}` | {family.kind} | {labels} | {family.help} |")
    return "\n".join(rows)


def written() -> str:
    """Return the document as it should be."""
    text = DOCUMENT.read_text("utf-8")
    for name, families in TABLES.items():
        begin, end = f"<!-- table {name} -->\n", "<!-- end -->"
        before, found, behind = text.partition(begin)
        assert found, f"docs/metrics.md has no place for the table {name}"
        text = f"{before}{begin}{table(families)}\n{end}{behind.partition(end)[2]}"
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(written(), "utf-8")
