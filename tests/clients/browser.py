"""A WebSocket SIP client on a page in a real browser (RFC 7118)."""

import http.server
import shutil
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

PAGE: Final = Path(__file__).parent / "browser"

_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=900,640",
)


def bundle(folder: Path) -> Path:
    """Install the library the page is written with into a folder, and return the folder with the page in it."""
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    for arguments in (("install", "--no-package-lock", "--no-fund", "--no-audit", "--silent"), ("run", "bundle")):
        subprocess.run(["npm", *arguments], cwd=folder, check=True, capture_output=True)
    return folder


@contextmanager
def served(folder: Path) -> Generator[str, None, None]:
    """Serve a folder over HTTP for the length of a block; the origin of its pages is yielded."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def browser(folder: Path, *, trusting: str = "") -> Generator[Chrome, None, None]:
    """Run a browser with a profile of its own; trusting is the hash of a public key whose certificate it takes."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for option in (*_OPTIONS, f"--user-data-dir={folder}"):
        options.add_argument(option)
    if trusting:
        options.add_argument(f"--ignore-certificate-errors-spki-list={trusting}")
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def phone_page(origin: str, server: str, uri: str, password: str = "") -> str:
    """Return the address of the page that registers uri over the WebSocket server."""
    return f"{origin}/phone.html?{urlencode({'server': server, 'uri': uri, 'password': password})}"
