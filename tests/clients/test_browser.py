"""A phone in a browser, over WebSocket with and without TLS (RFC 7118)."""

import base64
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.scene import DOMAIN, PASSWORD, asking_server, watcher
from tests.server_fixture import PATIENCE

pytestmark = pytest.mark.network

browser = pytest.importorskip("tests.clients.browser", reason="chromium cannot be driven: selenium is not installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, chromium: str, npm: str) -> Path:
    """The folder of the page, with its library in it."""
    folder: Path = browser.bundle(tmp_path_factory.mktemp("page") / "browser")
    return folder


def key_hash(certificate: Path) -> str:
    """Return what Chromium calls the public key of a certificate."""
    public = subprocess.run(
        ["openssl", "x509", "-in", certificate, "-pubkey", "-noout"], check=True, capture_output=True
    ).stdout
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, check=True, capture_output=True
    ).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


@pytest.mark.parametrize("transport", ["ws", "wss"])
def test_a_browser_registers_and_ends_with_its_connection(transport: str, page: Path, tmp_path: Path) -> None:
    """TRN-11, TRN-12, TRN-14, AUT-2, OUT-6: challenged, registered, told; when the page is closed it has expired."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    with (
        browser.served(page) as origin,
        asking_server(tmp_path / "server", origin) as server,
        watcher(server.udp, f"sip:alice@{DOMAIN}") as watch,
    ):
        host, port = server.addresses[transport]
        trusting = key_hash(tmp_path / "server" / f"{DOMAIN}.pem")
        with browser.browser(tmp_path / "profile", trusting=trusting) as driver:
            driver.get(browser.phone_page(origin, f"{transport}://{host}:{port}", f"sip:alice@{DOMAIN}", PASSWORD))
            state = driver.find_element(By.ID, "state")
            WebDriverWait(driver, PATIENCE).until(lambda _: state.text == "registered")
            came = watch.contact()
            assert (came["state"], came["event"]) == ("active", "registered")
            assert ".invalid;transport=ws" in came["uri"]
            assert came["uri"] in driver.find_element(By.ID, "contact").text
            pictures = os.environ.get("REGINFO_PICTURES")
            if pictures:
                driver.save_screenshot(str(Path(pictures) / f"browser-{transport}.png"))
        gone = watch.contact()
        assert (gone["event"], gone["uri"]) == ("expired", came["uri"])


def test_a_page_of_another_origin_is_kept_out(page: Path, tmp_path: Path) -> None:
    """TRN-12: who is not listed gets 403 from a real browser's point of view: no connection."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    with browser.served(page) as origin, asking_server(tmp_path / "server", "https://phone.example.com") as server:
        host, port = server.addresses["ws"]
        with browser.browser(tmp_path / "profile") as driver:
            driver.get(browser.phone_page(origin, f"ws://{host}:{port}", f"sip:alice@{DOMAIN}", PASSWORD))
            events = driver.find_element(By.ID, "events")
            WebDriverWait(driver, PATIENCE).until(lambda _: "disconnected" in events.text)
            assert "registered" not in events.text
        assert "websocket refused" in server.log.read_text()
