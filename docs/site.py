"""What mkdocs is told about this repository: its pages outside docs/, links that leave docs/, and GitHub's Markdown."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent

ROOT_PAGES = {
    "README.md": "overview.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"Pages that stand in the root of the repository, where people look for them, and their names in the site."

_LINK = re.compile(r"(?P<text>\[[^\]\[]*(?:\[[^\]]*\][^\]\[]*)*\])\((?P<target>[^)\s]+)\)")
_FENCE = re.compile(r"(^ *```.*?^ *```)", re.MULTILINE | re.DOTALL)
_LIST = re.compile(r"^(?:[*-]|\d+\.) ")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand in the root."""
    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where the site has their targets, and set lists and tables apart as Python-Markdown wants it."""
    source = {site: name for name, site in ROOT_PAGES.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def lead(link: re.Match[str]) -> str:
        target, _, anchor = link["target"].partition("#")
        if not target or ":" in target:
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        site = ROOT_PAGES.get(path)
        if path.startswith("docs/") and (ROOT / path).is_file():
            site = path.removeprefix("docs/")
        if site is not None:
            relative = posixpath.relpath(site, posixpath.dirname(page.file.src_uri) or ".")
            return f"{link['text']}({relative}{'#' if anchor else ''}{anchor})"
        if not (ROOT / path).exists():
            return link[0]  # mkdocs says that it leads nowhere
        return link["text"][1:-1]  # source code is not part of the site

    parts = _FENCE.split(markdown)
    return "".join(part if index % 2 else _apart(_LINK.sub(lead, part)) for index, part in enumerate(parts))


def _apart(text: str) -> str:
    """Put an empty line in front of a list or a table that stands right under a paragraph."""
    lines: list[str] = []
    for line in text.split("\n"):
        before = lines[-1] if lines else ""
        begins_list = _LIST.match(line) and not _LIST.match(before) and not before.startswith(" ")
        begins_table = line.startswith("|") and not before.startswith("|")
        if before and (begins_list or begins_table):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)
