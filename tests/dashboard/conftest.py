"""One browser for all tests of the dashboard, and a server for each module of them."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.dashboard.site import Site
from tests.server_fixture import RunningServer

if TYPE_CHECKING:
    from tests.dashboard.page import Page


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Page]":
    """The browser."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("chromium is not installed")
    pytest.importorskip("selenium", reason="chromium cannot be driven: selenium is not installed")
    from tests.dashboard.page import dashboard

    with dashboard(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(opened: "Page") -> "Iterator[Page]":
    """The browser as on a screen; what a test leaves behind is no fault of a script and no breach of the policy."""
    opened.resize(1280, 900)
    opened.faults()
    yield opened
    assert not opened.faults()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Where the server of a module is."""
    return Site(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[RunningServer]:
    """The server of a module."""
    with site.running() as server:
        yield server
