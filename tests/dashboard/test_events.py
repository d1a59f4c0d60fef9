"""Events as they happen, those of an outage too; and what a phone can send to whoever looks."""

from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from reginfo.admin.event_stream import MAX_CLIENTS
from tests.dashboard.site import DOMAIN, Site, register
from tests.server_fixture import PATIENCE, RunningServer

if TYPE_CHECKING:
    from tests.dashboard.page import Page

pytestmark = pytest.mark.network

BAIT = "document.title='owned'"


def _listen_often(streams: ExitStack, request: Request) -> None:
    for _ in range(MAX_CLIENTS + 1):
        streams.enter_context(urlopen(request, timeout=PATIENCE))


def test_what_registers_appears(page: "Page", site: Site, server: RunningServer) -> None:
    page.open(site.url)
    assert page.text("events-empty") == "Nothing has happened since this page was opened."
    for user in ("first", "second"):
        register(server, user)
    wanted = [("registered", f"sip:second@{DOMAIN}"), ("registered", f"sip:first@{DOMAIN}")]
    page.until(lambda: page.events() == wanted)
    page.until(lambda: page.text("figure-registered_aors") == "2")
    page.until(lambda: f"sip:second@{DOMAIN}" in page.text("rows"))
    # A screen reader hears of it in one sentence, not in a flood.
    said = f"sip:second@{DOMAIN} registered"
    page.until(lambda: str(page.run("return document.getElementById('events-said').textContent")).endswith(said))


def test_an_event_leads_to_its_address_of_record(page: "Page", site: Site, server: RunningServer) -> None:
    page.open(site.url)
    register(server, "lead", "<sip:lead@192.0.2.99>")
    page.click("#events .aor")
    page.until(lambda: "sip:lead@192.0.2.99" in page.text("detail"))
    register(server, "lead", "<sip:lead@192.0.2.98>")
    page.until(lambda: "sip:lead@192.0.2.98" in page.text("detail"))  # what is looked at follows


def test_paused_events_wait(page: "Page", site: Site, server: RunningServer) -> None:
    page.open(site.url)
    page.click("#pause")
    assert page.id("pause").get_attribute("aria-pressed") == "true"
    register(server, "waiting")
    page.until(lambda: "1 wait" in page.text("events-rate"))
    assert page.events() == []
    page.click("#pause")
    page.until(lambda: page.events() == [("registered", f"sip:waiting@{DOMAIN}")])


def test_the_filter_of_events_is_the_servers_and_text_is_the_pages(
    page: "Page", site: Site, server: RunningServer
) -> None:
    page.open(site.url)
    register(server, "chosen", "<sip:chosen@192.0.2.50>")
    page.until(lambda: len(page.events()) == 1)
    page.id("filter-event").send_keys("refreshed")
    page.until(lambda: page.events() == [])
    register(server, "chosen", "<sip:chosen@192.0.2.50>")
    page.until(lambda: page.events() == [("refreshed", f"sip:chosen@{DOMAIN}")])
    page.id("filter-text").send_keys("nobody")
    page.until(lambda: page.text("events-empty") == "Nothing of this kind has happened.")
    page.id("filter-text").clear()
    page.id("filter-text").send_keys("192.0.2.50")
    page.until(lambda: len(page.events()) == 1)


def test_what_a_phone_sends_is_text(page: "Page", site: Site, server: RunningServer) -> None:
    """No part of a REGISTER becomes an element, neither in the stream nor in the tables."""
    image = f"<img src=x onerror={BAIT}>"
    user = "&lt;b&gt;/../?x=1;y"
    contact = f'"{image}" <sip:x@192.0.2.66;a=%3Cscript%3E>'
    page.open(site.url)
    register(server, user, contact, user_agent=f"{image}<script>{BAIT}</script>")
    page.until(lambda: page.events() == [("registered", f"sip:{user}@{DOMAIN}")])
    page.click("#events .aor")
    page.until(lambda: "x@192.0.2.66" in page.text("detail"))
    page.unfold()
    assert image in page.text("detail")
    assert f"<script>{BAIT}</script>" in page.text("detail")
    page.click("#back")
    page.until(lambda: image in page.text("rows"))
    assert page.run("return document.images.length") == 1  # the sign of the page itself
    assert page.run("return document.scripts.length") == 1
    assert page.driver.title == "reginfo"


def test_a_restart_is_said_and_loses_no_event(page: "Page", tmp_path_factory: pytest.TempPathFactory) -> None:
    site = Site(tmp_path_factory.mktemp("restarted"))
    with site.running() as server:
        page.open(site.url)
        register(server, "before")
        page.until(lambda: page.events() == [("registered", f"sip:before@{DOMAIN}")])
    page.until(lambda: page.text("link-text") == "Unreachable")
    page.until(lambda: "The server does not answer." in page.text("notices"))
    assert page.driver.title == "(unreachable) reginfo"
    with site.running() as server:
        for number in range(3):  # before the page has come back, or after
            register(server, f"meanwhile{number}")
        page.until(lambda: page.text("link-text") == "Live")
        page.until(lambda: len(page.events()) == 4)
        assert [aor for _, aor in page.events()] == [
            *(f"sip:meanwhile{number}@{DOMAIN}" for number in (2, 1, 0)),
            f"sip:before@{DOMAIN}",
        ]
        assert page.text("notices") == ""
        assert page.driver.title == "reginfo"
        page.until(lambda: page.text("figure-contacts") == "4")


def test_a_restart_before_the_first_event_loses_none(page: "Page", tmp_path_factory: pytest.TempPathFactory) -> None:
    site = Site(tmp_path_factory.mktemp("early"))
    with site.running():
        page.open(site.url)
    page.until(lambda: page.text("link-text") == "Unreachable")
    with site.running() as server:
        register(server, "early")
        page.until(lambda: page.text("link-text") == "Live")
        page.until(lambda: page.events() == [("registered", f"sip:early@{DOMAIN}")])


def test_many_tabs_are_live_one_after_the_other(page: "Page", site: Site, server: RunningServer) -> None:
    """A tab that is not seen holds no connection, of which a browser has six; seen again, it has missed nothing."""
    driver = page.driver
    page.open(site.url)
    first = driver.current_window_handle
    register(server, "tabs0")
    page.until(lambda: page.events() == [("registered", f"sip:tabs0@{DOMAIN}")])
    others = []
    try:
        for _ in range(7):
            driver.switch_to.new_window("tab")
            others.append(driver.current_window_handle)
            page.open(site.url)
        register(server, "tabs1")
        page.until(lambda: page.events() == [("registered", f"sip:tabs1@{DOMAIN}")])
        driver.switch_to.window(first)
        driver.execute_cdp_cmd("Page.bringToFront", {})
        page.until(lambda: page.events() == [("registered", f"sip:tabs{number}@{DOMAIN}") for number in (1, 0)])
    finally:
        for handle in others:
            driver.switch_to.window(handle)
            driver.close()
        driver.switch_to.window(first)
        driver.execute_cdp_cmd("Page.bringToFront", {})


def test_too_many_listeners_are_told_so(page: "Page", site: Site, server: RunningServer) -> None:
    """The rest of the page works all the same, and the stream begins when there is room."""
    page.driver.get("about:blank")
    request = Request(f"{site.origin}/api/v1/events", headers={"Authorization": f"Bearer {site.token}"})
    with ExitStack() as streams:
        with pytest.raises(HTTPError) as raised:  # of the last one
            _listen_often(streams, request)
        raised.value.close()
        assert raised.value.code == 503
        page.open(site.url, wait=False)
        page.until(lambda: page.text("link-text") == "No events")
        page.until(lambda: "too many clients listen already" in page.text("notices"))
        page.until(lambda: page.text("figure-contacts") != "–")
    page.until(lambda: page.text("link-text") == "Live")
    page.until(lambda: page.text("notices") == "")


def test_events_that_are_no_longer_held_are_a_gap(page: "Page", site: Site, server: RunningServer) -> None:
    """The stream is parsed as it may be cut anywhere; a gap is a row of its own."""
    page.open(site.url)
    script = """
    const done = arguments[0];
    import("/dashboard/stream.js").then(({ Parser }) => {
      const text = ": hello\\n\\nid: 7-0\\nevent: gap\\r\\ndata: {\\"after\\": 3,\\ndata: \\"oldest\\": 9}\\r\\n\\r\\nid: 8-0\\n\\nevent: x\\ndata:y\\u00e9\\n\\n";
      const octets = new TextEncoder().encode(text);
      for (let cut = 0; cut <= octets.length; cut += 1) {
        const parser = new Parser();
        const events = [...parser.feed(octets.slice(0, cut)), ...parser.feed(octets.slice(cut))];
        const want = [{ id: "7-0", event: "gap", data: '{"after": 3,\\n"oldest": 9}' }, { id: "8-0", event: "x", data: "y\\u00e9" }];
        if (JSON.stringify(events) !== JSON.stringify(want)) { done(`${cut}: ${JSON.stringify(events)}`); return; }
      }
      done("ok");
    }, (error) => done(String(error)));
    """  # noqa: E501
    assert page.driver.execute_async_script(script) == "ok"
