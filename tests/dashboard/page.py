"""The dashboard in a real browser, in the terms of who looks at it."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.clients.browser import browser
from tests.server_fixture import PATIENCE

SCREEN: Final = (1280, 900)
PHONE: Final = (375, 812)
"CSS pixels."

T = TypeVar("T")


class Page:
    """The dashboard in a browser, in the terms of who looks at it."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str, *, wait: bool = True) -> None:
        """Load the page with an empty session, and wait for the live stream."""
        self.driver.get("about:blank")
        self.driver.get(url)
        if wait:
            self.until(lambda: self.text("link-text") == "Live")

    def until(self, true: Callable[[], T], patience: float = PATIENCE) -> T:
        """Wait until something holds, and return it; what is redrawn meanwhile is looked up again."""
        waiting = WebDriverWait(
            self.driver,
            patience,
            poll_frequency=0.05,
            ignored_exceptions=(NoSuchElementException, StaleElementReferenceException),
        )
        return waiting.until(lambda _: true())

    def id(self, name: str) -> WebElement:
        return self.driver.find_element(By.ID, name)

    def css(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, name: str) -> str:
        return self.id(name).text

    def click(self, selector: str) -> None:
        """Click what is there as soon as it can be clicked."""

        def clicked() -> bool:
            found = [one for one in self.css(selector) if one.is_displayed() and one.is_enabled()]
            if found:
                # In the middle: at the top it would lie under the bar.
                self.run("arguments[0].scrollIntoView({block: 'center'})", found[0])
                found[0].click()
            return bool(found)

        self.until(clicked)

    def run(self, script: str, *arguments: object) -> object:
        """Return the result of a script."""
        result: object = self.driver.execute_script(script, *arguments)
        return result

    def resize(self, width: int, height: int, scheme: str = "light", mobile: bool = False) -> None:
        """Be a screen of so many CSS pixels, with a preference for light or dark."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def look_up(self, aor: str) -> None:
        """Search an address-of-record, and wait for it."""
        box = self.id("search-aor")
        box.clear()
        box.send_keys(aor)
        box.submit()
        self.until(lambda: aor in self.text("detail"))

    def texts(self, selector: str) -> list[str]:
        """Return the text of everything there, as of one instant."""
        found = self.run("return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector)
        assert isinstance(found, list)
        return found

    def unfold(self) -> None:
        """Open everything that is known of each contact of an address-of-record."""

        def opened() -> bool:
            for one in self.css("#detail details:not([open]) summary"):
                one.click()
            return not self.css("#detail details:not([open])")

        self.until(opened)

    def press(self, *keys: str) -> None:
        """Press keys wherever the focus is."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def tab_to(self, selector: str, limit: int = 60) -> None:
        """Press Tab until the focus is there."""
        for _ in range(limit):
            if self.run("return document.activeElement.matches(arguments[0])", selector):
                return
            self.press(Keys.TAB)
        raise AssertionError(f"Tab does not lead to {selector}")

    def faults(self) -> list[str]:
        """Return what the browser complains of since the last call, but for answers that are no success."""
        log: list[dict[str, str]] = self.driver.execute("getLog", {"type": "browser"})["value"]
        severe = [one["message"] for one in log if one["level"] == "SEVERE"]
        return [message for message in severe if "Failed to load resource" not in message and "net::ERR" not in message]

    def events(self) -> list[tuple[str, str]]:
        """Return event and address-of-record of what the stream has shown, newest first."""
        script = """return [...document.querySelectorAll("#events tr.event")].map(
            (row) => [row.cells[1].lastChild.textContent.trim(), row.querySelector(".aor").textContent])"""
        rows = self.run(script)
        assert isinstance(rows, list)
        return [(event, aor) for event, aor in rows]


@contextmanager
def dashboard(folder: Path) -> Generator[Page, None, None]:
    """Run a browser for the length of a block."""
    with browser(folder) as driver:
        page = Page(driver)
        page.resize(*SCREEN)
        yield page
