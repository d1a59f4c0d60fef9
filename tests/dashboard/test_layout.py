"""First view, plots, and that everybody can read it: names, contrast, phones, no jumps."""

from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.dashboard.site import DOMAIN, Site, register
from tests.server_fixture import RunningServer

if TYPE_CHECKING:
    from tests.dashboard.page import Page

pytestmark = pytest.mark.network

NAMELESS = """
const name = (one) => (one.getAttribute("aria-label") ?? "").trim() || one.textContent.trim()
    || [...(one.labels ?? [])].map((label) => label.textContent.trim()).join(" ");
return [...document.querySelectorAll("button, input, select, [role=slider], [role=region]")]
    .filter((one) => !name(one)).map((one) => one.outerHTML);
"""

REPEATED = """
const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
return ids.filter((id, index) => ids.indexOf(id) !== index || /\\s/.test(id));
"""

# WCAG 2.2, 1.4.3: contrast of text with the first ground below it that is not transparent.
PALE = """
const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const ground = (one) => {
  for (let at = one; at; at = at.parentElement) {
    const colour = numbers(getComputedStyle(at).backgroundColor);
    if (colour.length < 4 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const one = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !one.checkVisibility() || one.closest("option, noscript, :disabled")) continue;
  const style = getComputedStyle(one);
  const [a, b] = [luminance(numbers(one instanceof SVGElement ? style.fill : style.color)), luminance(ground(one))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) found.push(`${one.className.baseVal ?? one.className} ${one.textContent}: ${contrast.toFixed(2)}`);
}
return found;
"""  # noqa: E501

JUMPS = """
window.jumps = [];
new PerformanceObserver((list) => jumps.push(...list.getEntries().filter((one) => !one.hadRecentInput)
    .map((one) => [one.value, one.sources.map(({ node }) => node?.id || node?.className || node?.nodeName)])))
    .observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module", autouse=True)
def phones(server: RunningServer) -> None:
    """Some that are registered."""
    for number in range(25):
        register(server, f"phone{number:02}")
    for number in range(3):
        register(server, "many", f"<sip:{'a-long-name-that-goes-on-' * 6}{number}@192.0.2.{number};transport=tcp>")


def _open_all(page: "Page") -> None:
    """Have as much on view as there can be."""
    page.look_up(f"many@{DOMAIN}")
    page.unfold()


def test_the_first_view_has_figures_plots_registrations_and_events(page: "Page", site: Site) -> None:
    page.open(site.url)
    page.until(lambda: (page.text("figure-registered_aors"), page.text("figure-contacts")) == ("26", "28"))
    page.until(lambda: page.text("figure-requests") != "–")
    assert page.text("figure-feed_lag") == "0"
    assert page.text("figure-loop_lag_ms").isdigit()
    assert page.texts("main h2") == [
        *("Figures", "Registered", "Traffic", "Loop lag", "Feed lag"),
        *("Peers", "Registrations", "Events"),
    ]
    page.until(lambda: len(page.css("#rows tbody tr")) > 0)
    assert "No peer is configured." in page.text("peers")
    assert page.text("uptime").startswith("up ")


def test_plots_have_axes_with_units_and_are_read_by_keyboard_and_pointer(page: "Page", site: Site) -> None:
    page.open(site.url)
    page.until(lambda: len(site.ask("history")["series"]["time"]) >= 2, patience=30)
    page.driver.refresh()
    area = "[role=slider]"
    page.until(lambda: "AoRs" in str(page.css(area)[0].get_attribute("aria-valuetext")))
    first = page.css(area)[0]
    newest = str(first.get_attribute("aria-valuetext"))
    assert newest.endswith("AoRs 26, contacts 28")
    ticks = [one.text for one in first.find_elements("css selector", ".tick")]
    assert "0" in ticks
    assert any(":" in tick for tick in ticks)
    assert page.css(".plot .when")[0].text == "last 5 min"
    page.run("arguments[0].focus()", first)
    page.press("\ue012")  # Left
    page.until(lambda: page.css(".plot .when")[0].text.startswith("at "))
    assert first.get_attribute("aria-valuetext") != newest
    page.press("\ue00c")  # Escape
    assert first.get_attribute("aria-valuetext") == newest
    page.run(
        "arguments[0].dispatchEvent(new PointerEvent('pointermove', {clientX: 0, clientY: 0, bubbles: true}))", first
    )
    assert len(page.css(".cursor circle")) == 2
    assert "per second" in str(page.css(area)[1].get_attribute("aria-valuetext"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_enough_contrast(page: "Page", site: Site, scheme: str) -> None:
    page.resize(1280, 900, scheme=scheme)
    page.open(site.url)
    page.until(lambda: page.css("#rows .aor"))
    assert page.run(PALE) == []
    _open_all(page)
    assert page.run(NAMELESS) == []
    assert page.run(REPEATED) == []
    assert page.run(PALE) == []
    page.click("#all-contacts")
    page.until(lambda: page.id("verb-dialog").is_displayed())
    assert page.run(PALE) == []
    assert page.run("return document.documentElement.lang") == "en"
    assert page.run("return document.querySelectorAll('table:not(:has(th))').length") == 0
    ground = str(page.run("return getComputedStyle(document.body).backgroundColor"))
    assert (sum(map(int, ground.strip("rgb()").split(","))) > 384) == (scheme == "light")


def test_a_phone_needs_no_sideways_scrolling(page: "Page", site: Site, server: RunningServer) -> None:
    page.resize(375, 812, mobile=True)
    page.open(site.url)
    register(server, "seen", f"<sip:{'wide' * 40}@192.0.2.1>")
    page.until(lambda: page.events())
    for opens in (False, True):
        if opens:
            _open_all(page)
        wide = "return [document.documentElement, ...document.querySelectorAll('main, .scroll, .panel, .body')]"
        assert page.run(f"{wide}.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.id)") == []
        assert page.run("return innerWidth") == 375
    page.click("#all-contacts")
    page.until(lambda: page.id("verb-dialog").is_displayed())
    box = page.run("const r = document.getElementById('verb-dialog').getBoundingClientRect(); return [r.left, r.right]")
    assert isinstance(box, list)
    assert box[0] >= 0
    assert box[1] <= 375
    small = "return [...document.querySelectorAll('button:not(.aor), input:not([type=radio]), select')]"
    assert page.run(f"{small}.filter((one) => one.checkVisibility() && one.offsetHeight < 32).map((o) => o.id)") == []


def test_nothing_jumps(page: "Page", site: Site, server: RunningServer) -> None:
    """What comes by itself moves nothing that is there (Cumulative Layout Shift)."""
    page.open(site.url)
    page.until(lambda: page.css("#rows .aor"))
    page.until(lambda: page.text("figure-requests") != "–")
    page.run(JUMPS)
    page.run("jumps.length = 0")
    for number in range(3):
        register(server, f"late{number}")
    page.until(lambda: len(page.events()) >= 3)
    register(server, "late0", "<sip:late0@192.0.2.200>")
    page.until(lambda: len(page.events()) >= 4)
    jumps = page.run("return jumps")
    assert isinstance(jumps, list)
    # Newer events push older ones down in their own box, and the first page of registrations has new rows.
    assert sum(value for value, _ in jumps) < 0.1, jumps


def test_the_page_is_served_with_a_strict_policy(site: Site, server: RunningServer) -> None:
    for path in ("/", "/dashboard/app.js", "/dashboard/style.css", "/dashboard/icon.svg"):
        with urlopen(site.origin + path) as response:
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            text = response.read().decode()
        for forbidden in ("style=", "onclick=", "<script>", "innerHTML", "insertAdjacentHTML", "document.write"):
            assert forbidden not in text
        assert not [word for word in text.split('"') if word.startswith("https://")]


@pytest.mark.parametrize("path", ["/dashboard/../http.py", "/dashboard/%2e%2e/http.py", "/dashboard/none.js"])
def test_nothing_else_is_served(site: Site, server: RunningServer, path: str) -> None:
    with pytest.raises(HTTPError) as raised:
        urlopen(site.origin + path)
    assert raised.value.code in (401, 404)
    raised.value.close()
