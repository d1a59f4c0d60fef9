"""Who may look: the token from the printed address, from a prompt, and no longer."""

from typing import TYPE_CHECKING

import pytest

from tests.dashboard.site import Site
from tests.server_fixture import RunningServer

if TYPE_CHECKING:
    from tests.dashboard.page import Page

pytestmark = pytest.mark.network


@pytest.fixture(autouse=True)
def empty_session(page: "Page", site: Site, server: RunningServer) -> None:
    """Forget what another test was let in with."""
    page.open(site.origin, wait=False)
    page.run("sessionStorage.clear()")


def test_the_fragment_lets_in_and_leaves_the_address_bar(page: "Page", site: Site) -> None:
    page.open(site.url)
    assert page.driver.current_url == f"{site.origin}/"
    assert not page.id("token-dialog").is_displayed()
    assert site.token not in str(page.run("return document.documentElement.outerHTML"))


def test_a_reload_asks_for_no_token(page: "Page", site: Site) -> None:
    page.open(site.url)
    page.driver.refresh()
    page.until(lambda: page.text("link-text") == "Live")
    assert not page.id("token-dialog").is_displayed()


def test_without_a_token_it_is_asked_for(page: "Page", site: Site) -> None:
    page.open(site.origin, wait=False)
    page.until(lambda: page.id("token-dialog").is_displayed())
    assert page.text("link-text") == "No token"
    assert page.text("token-error") == ""
    page.press("not the token", "\n")
    page.until(lambda: page.text("token-error") == "The server does not accept this token.")
    page.press(site.token, "\n")
    page.until(lambda: page.text("link-text") == "Live")
    assert not page.id("token-dialog").is_displayed()
    page.until(lambda: page.text("figure-contacts") == "0")


@pytest.mark.parametrize("wrong", ["wrong", "%0d%0aX-Other: 1", "é"])
def test_a_wrong_token_in_the_fragment_is_said_to_be_wrong(page: "Page", site: Site, wrong: str) -> None:
    page.open(f"{site.origin}/#token={wrong}", wait=False)
    page.until(lambda: page.text("token-error") == "The server does not accept this token.")


def test_escape_does_not_get_around_the_prompt(page: "Page", site: Site) -> None:
    page.open(site.origin, wait=False)
    page.until(lambda: page.id("token-dialog").is_displayed())
    page.press("\ue00c", "\ue00c", "\ue00c")
    page.until(lambda: page.id("token-dialog").is_displayed())


def test_signing_out_forgets_the_token_and_what_was_shown(page: "Page", site: Site) -> None:
    page.open(site.url)
    page.click("#forget")
    page.until(lambda: page.id("token-dialog").is_displayed())
    assert page.run("return sessionStorage.length") == 0
    assert page.text("figure-contacts") == "–"


def test_a_printed_address_in_an_open_tab_is_followed(page: "Page", site: Site) -> None:
    page.open(site.origin, wait=False)
    page.until(lambda: page.id("token-dialog").is_displayed())
    page.driver.get(site.url)  # only the fragment differs: nothing is loaded
    page.until(lambda: page.text("link-text") == "Live")
    assert page.driver.current_url == f"{site.origin}/"
