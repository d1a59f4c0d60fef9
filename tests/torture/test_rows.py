"""The tables are whole, and their messages meet the parser as the verdicts say."""

from pathlib import Path

import pytest

from reginfo._fast.errors import SipParseError
from reginfo._fast.sip_parser import parse_message, salvage
from tests.torture import ROWS, Row, rfc4475, rfc5118

CORPUS = Path(__file__).parent.parent / "corpora" / "sip-cve"


def status_of(octets: bytes) -> int | str | None:
    """Return the status a message is refused with, "parsed" if it is not."""
    try:
        parse_message(octets)
    except SipParseError as error:
        return error.status
    return "parsed"


def test_every_row_of_both_tables_has_a_message() -> None:
    """49 rows of RFC 4475, 12 of RFC 5118, each of our own making."""
    assert (len(rfc4475.ROWS), len(rfc5118.ROWS)) == (49, 12)
    assert len({row.name for row in ROWS}) == 61


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row_parses_or_is_refused_as_owed(row: Row) -> None:
    """Section 16: what is not refused here gets its answer from the server, later."""
    status = status_of(row.octets)
    assert status in ("parsed", row.status)
    if row.status in (200, 405, 416, 420):
        assert status == "parsed"
    assert row.status is None or salvage(row.octets) is not None


@pytest.mark.parametrize("row", [row for row in ROWS if row.status], ids=lambda row: row.name)
def test_original_parses_or_is_refused_as_owed(corpora: Path, row: Row) -> None:
    """Section 16, for the RFCs' own messages."""
    folder = "rfc4475" if row in rfc4475.ROWS else "rfc5118"
    octets = (corpora / folder / f"{row.name}.dat").read_bytes()
    assert status_of(octets) in ("parsed", row.status)
    assert octets != row.octets


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.sip")), ids=lambda path: path.stem)
def test_corpus_file_parses_or_raises_one_error(path: Path) -> None:
    """SEC-5: the whole file and a prefix of every length up to 2,000."""
    octets = path.read_bytes()
    for end in (*range(min(len(octets), 2_000)), len(octets)):
        status_of(octets[:end])
        salvage(octets[:end])
