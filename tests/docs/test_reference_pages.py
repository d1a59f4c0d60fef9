"""The generated pages are those of this code."""

import pytest

from tests.reference_pages import DOCS, PAGES, written


@pytest.mark.parametrize("page", PAGES)
def test_the_committed_page_is_current(page: str) -> None:
    assert (DOCS / page).read_text("utf-8") == written(page), "run `make reference`"
