"""A location service moved through Kamailio's table is the same one."""

from benchmarks.transfer import transfer

CONTACTS = 300


def test_a_location_service_that_was_moved_is_the_same() -> None:
    assert [moved.command for moved in transfer(CONTACTS)] == ["ul export", "ul import", "compare"]
