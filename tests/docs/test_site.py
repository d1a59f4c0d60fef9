"""The site builds without a warning; nothing in it comes from elsewhere, leads nowhere, or cannot be reached."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pytest

from tests.conftest import ROOT

LOADING: Final = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Html(HTMLParser):
    """What one page links to, loads, and can be linked at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.add(found["href"])
        if tag in LOADING and found.get("rel") not in ("prev", "next", "canonical"):
            self.loaded.add(found.get(LOADING[tag], ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Html]:
    """The pages of the site by file."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return {path: Html(path.read_text("utf-8")) for path in sorted(folder.rglob("*.html")) if path.name != "404.html"}


def test_nothing_is_loaded_from_elsewhere(site: dict[Path, Html]) -> None:
    for path, html in site.items():
        assert not [target for target in html.loaded if urlsplit(target).netloc], path.name


def test_links_and_anchors_lead_somewhere(site: dict[Path, Html]) -> None:
    for path, html in site.items():
        for link in html.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{path.name}: {link}"
            if parts.fragment and target in site and parts.fragment != "__skip":
                assert unquote(parts.fragment) in site[target].anchors, f"{path.name}: {link}"


def test_every_page_can_be_reached_from_the_first(site: dict[Path, Html]) -> None:
    home = next(path for path in site if path.name == "index.html")
    reached: set[Path] = set()
    waiting = [home]
    while waiting:
        path = waiting.pop()
        if path in reached or path not in site:
            continue
        reached.add(path)
        for link in site[path].links:
            parts = urlsplit(link)
            if parts.path and not parts.scheme:
                waiting.append((path.parent / unquote(parts.path)).resolve())
    assert reached == set(site)


def test_lists_and_tables_are_set_as_such(site: dict[Path, Html]) -> None:
    """Python-Markdown wants an empty line in front of them, GitHub does not."""
    for path in site:
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", path.read_text("utf-8"), flags=re.DOTALL)
        assert not re.search(r"^(?:\* |\d+\. |\| )", text, re.MULTILINE), path.name
