"""Torture messages of our own, one for every row of the tables in RFC 4475 and RFC 5118."""

from tests.torture import rfc4475, rfc5118
from tests.torture.row import Row

ROWS: tuple[Row, ...] = (*rfc4475.ROWS, *rfc5118.ROWS)

__all__ = ["ROWS", "Row"]
