"""Registrations: paged, searched, and changed by hand, each change confirmed and seen in the location service."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clients.scene import watcher
from tests.dashboard.site import DOMAIN, Site, register
from tests.server_fixture import RunningServer

if TYPE_CHECKING:
    from tests.dashboard.page import Page

pytestmark = pytest.mark.network


def _choose(page: "Page", verb: str, seconds: int | None = None) -> None:
    """Choose a verb in the dialog that is open, and confirm it."""
    page.until(lambda: page.id("verb-dialog").is_displayed())
    page.click(f"#verb-dialog [value={verb}]")
    if seconds is not None:
        field = page.id(f"seconds-{verb}")
        field.clear()
        field.send_keys(str(seconds))
    page.click("#verb-submit")


def test_all_are_paged_there_and_back(page: "Page", tmp_path: Path) -> None:
    site = Site(tmp_path)
    with site.running() as server:
        for number in range(45):
            register(server, f"user{number:02}")
        page.open(site.url)
        seen: list[set[str]] = []
        while True:
            page.until(lambda: page.text("page-text").startswith(f"Page {len(seen) + 1}"))
            seen.append(set(page.texts("#rows .aor")))
            if not page.id("next").is_enabled():
                break
            page.click("#next")
        assert set().union(*seen) == {f"sip:user{number:02}@{DOMAIN}" for number in range(45)}
        assert len(seen) >= 3
        page.click("#previous")
        page.until(lambda: page.text("page-text") == f"Page {len(seen) - 1}")
        assert set(page.texts("#rows .aor")) == seen[-2]


def test_a_search_shows_all_that_is_known(page: "Page", site: Site, server: RunningServer) -> None:
    page.open(site.url)
    with watcher(server.udp, f"sip:known@{DOMAIN}"):
        register(server, "known", '"Desk" <sip:known@192.0.2.1:5070;transport=tcp>;q=0.7', user_agent="Phone/1")
        page.look_up(f"known@{DOMAIN}")
        page.until(lambda: "notifier" in page.text("detail"))
    text = page.text("detail")
    assert "1 contact" in text
    assert "sip:known@192.0.2.1:5070;transport=tcp" in text
    assert "0.7" in text
    assert "Publications" in text
    page.unfold()
    for fact in ("Phone/1", "Desk", "page-", "CSeq"):
        assert fact in page.text("detail")
    page.click("#back")
    page.until(lambda: page.id("list").is_displayed())


@pytest.mark.parametrize(
    ("asked", "said"), [("nobody@example.com", "Nobody is registered here."), ("sip:a b", "Aor"), ("sip:", "Aor")]
)
def test_a_search_in_vain_says_why(page: "Page", site: Site, server: RunningServer, asked: str, said: str) -> None:
    page.open(site.url)
    page.look_up(asked)
    assert said in page.text("detail")
    assert page.id("all-contacts").is_enabled() is False


@pytest.mark.parametrize(
    ("verb", "said", "event"),
    [
        ("deactivate", "1 contact deactivated.", "deactivated"),
        ("probation", "1 contact put on probation.", "probation"),
        ("reject", "1 contact rejected.", "rejected"),
        ("remove", "1 contact removed.", "deactivated"),
    ],
)
def test_a_verb_ends_one_contact(
    page: "Page", site: Site, server: RunningServer, verb: str, said: str, event: str
) -> None:
    aor = f"sip:{verb}@{DOMAIN}"
    for host in ("192.0.2.1", "192.0.2.2"):
        register(server, verb, f"<sip:{verb}@{host}>")
    page.open(site.url)
    page.look_up(aor)
    page.click(f'[aria-label="Change sip:{verb}@192.0.2.1"]')
    page.until(lambda: page.id("verb-dialog").is_displayed())
    assert f"sip:{verb}@192.0.2.1" in page.text("verb-subject")
    _choose(page, verb)
    page.until(lambda: page.text("toast") == said)
    assert set(site.contacts(aor)) == {f"sip:{verb}@192.0.2.2"}
    page.until(lambda: f"sip:{verb}@192.0.2.1" not in page.text("detail"))
    page.until(lambda: page.events() == [(event, aor)])


def test_shortening_leaves_the_contact_for_a_while(page: "Page", site: Site, server: RunningServer) -> None:
    register(server, "short", "<sip:short@192.0.2.1>")
    aor = f"sip:short@{DOMAIN}"
    page.open(site.url)
    page.look_up(aor)
    page.click("#detail .act button")
    _choose(page, "shorten", 90)
    page.until(lambda: page.text("toast") == "1 contact shortened.")
    assert 60 < site.contacts(aor)["sip:short@192.0.2.1"]["expires"] <= 90
    page.until(lambda: "1 min" in page.text("detail"))


def test_all_contacts_are_ended_at_once(page: "Page", site: Site, server: RunningServer) -> None:
    for host in ("192.0.2.1", "192.0.2.2"):
        register(server, "both", f"<sip:both@{host}>")
    aor = f"sip:both@{DOMAIN}"
    page.open(site.url)
    page.look_up(aor)
    page.click("#all-contacts")
    page.until(lambda: page.text("verb-title") == "Change all 2 contacts")
    assert page.text("verb-submit") == "Deactivate all"
    _choose(page, "deactivate")
    page.until(lambda: page.text("toast") == "2 contacts deactivated.")
    assert site.contacts(aor) == {}
    page.until(lambda: "Nobody is registered here." in page.text("detail"))


def test_nothing_is_changed_by_a_dialog_that_is_left(page: "Page", site: Site, server: RunningServer) -> None:
    register(server, "left", "<sip:left@192.0.2.1>")
    page.open(site.url)
    page.look_up(f"sip:left@{DOMAIN}")
    for by_key in (False, True):
        page.click("#detail .act button")
        page.until(lambda: page.id("verb-dialog").is_displayed())
        if by_key:
            page.press("\ue00c")  # Escape
        else:
            page.click("#verb-dialog [data-close]")
        page.until(lambda: not page.id("verb-dialog").is_displayed())
        assert page.run("return document.activeElement.closest('#detail .act') !== null")
    assert set(site.contacts(f"sip:left@{DOMAIN}")) == {"sip:left@192.0.2.1"}


def test_a_contact_that_has_gone_meanwhile_is_said(page: "Page", site: Site, server: RunningServer) -> None:
    register(server, "gone", "<sip:gone@192.0.2.1>")
    page.open(site.url)
    page.look_up(f"sip:gone@{DOMAIN}")
    page.click("#detail .act button")
    register(server, "gone", "<sip:gone@192.0.2.1>;expires=0")
    page.until(lambda: ("unregistered", f"sip:gone@{DOMAIN}") in page.events())
    _choose(page, "reject")
    page.until(lambda: "has no" in page.text("verb-error"))
    assert page.id("verb-dialog").is_displayed()


def test_a_contact_is_created(page: "Page", site: Site, server: RunningServer) -> None:
    page.open(site.url)
    page.click("#create")
    page.id("create-aor").send_keys(f"made@{DOMAIN}")
    page.id("create-uri").send_keys("sip:made@192.0.2.7:5060")
    page.id("create-q").send_keys("0.3")
    page.click("#create-form [type=submit]")
    page.until(lambda: page.text("toast") == "1 contact created.")
    made = site.contacts(f"sip:made@{DOMAIN}")["sip:made@192.0.2.7:5060"]
    assert (made["q"], made["event"], made["expires"] > 3590) == (0.3, "created", True)
    page.until(lambda: "sip:made@192.0.2.7:5060" in page.text("detail"))


@pytest.mark.parametrize(("aor", "uri"), [("made@elsewhere.example", "sip:a@192.0.2.7"), ("made@example.com", "<b>")])
def test_a_contact_that_cannot_be_is_refused_in_the_dialog(
    page: "Page", site: Site, server: RunningServer, aor: str, uri: str
) -> None:
    page.open(site.url)
    page.click("#create")
    page.id("create-aor").send_keys(aor)
    page.id("create-uri").send_keys(uri)
    page.click("#create-form [type=submit]")
    page.until(lambda: page.text("create-error"))
    assert page.text("create-error").endswith(".")
    assert page.id("create-dialog").is_displayed()


def test_the_keyboard_alone_does_it_all(page: "Page", site: Site, server: RunningServer) -> None:
    """Skip link, search, dialog, a verb: Tab, arrows, Enter; the focus can be seen wherever it is."""
    register(server, "keys", "<sip:keys@192.0.2.1>")
    aor = f"sip:keys@{DOMAIN}"
    page.open(site.url)
    page.press("\t")
    assert page.run("return document.activeElement.className") == "skip"
    assert page.run("return document.activeElement.getBoundingClientRect().top >= 0")
    page.press("\n")
    assert page.run("return document.activeElement.id") == "main"
    page.tab_to("#search-aor")
    page.press(f"keys@{DOMAIN}", "\n")
    page.until(lambda: page.run("return document.activeElement.id") == "detail")
    page.tab_to("#detail .act button")
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("\n")
    page.until(lambda: page.id("verb-dialog").is_displayed())
    assert page.run("return document.activeElement.value") == "deactivate"
    page.press("\ue015", "\ue015")  # Down, twice
    assert page.text("verb-submit") == "Reject"
    page.tab_to("#verb-submit")
    page.press("\n")
    page.until(lambda: page.text("toast") == "1 contact rejected.")
    assert site.contacts(aor) == {}


def test_requests_are_those_of_the_interface(page: "Page", site: Site, server: RunningServer) -> None:
    """Nothing is fetched from anywhere else."""
    page.open(site.url)
    names = json.loads(
        str(page.run("return JSON.stringify(performance.getEntriesByType('resource').map((one) => one.name))"))
    )
    assert names
    assert all(name.startswith(f"{site.origin}/") for name in names)
