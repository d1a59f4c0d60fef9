"""The table of requirements is current, and the requirements of clients and networks each have a test."""

import pytest

from tests.compliance import DOCUMENT, named_by, naming_tests, written
from tests.requirements import GROUPS, REQUIREMENTS

DEMANDED = [
    identifier
    for identifier in REQUIREMENTS
    if identifier.partition("-")[0] in ("AUT", "PTH", "SVR", "OUT", "GRU", "DNS", "IMS")
    or identifier in ("TRN-11", "TRN-12", "TRN-13", "TRN-14", "TRN-15")
]
"Whatever else is untested, these are not."


@pytest.mark.parametrize("identifier", DEMANDED)
def test_each_demanded_requirement_has_a_test(identifier: str) -> None:
    assert identifier in naming_tests(), f"no test names {identifier}"


def test_the_committed_table_is_current() -> None:
    assert DOCUMENT.read_text("utf-8") == written(), "run `make compliance`"


def test_every_id_that_is_cited_is_a_requirement() -> None:
    cited = {*named_by("src", "*.p*[xy]"), *named_by("tests", "*.py")}
    assert cited <= set(REQUIREMENTS)


def test_every_requirement_is_in_a_group_with_a_title() -> None:
    assert {identifier.partition("-")[0] for identifier in REQUIREMENTS} == set(GROUPS)
