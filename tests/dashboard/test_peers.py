"""A peer that is down cannot be overlooked, whatever colours one sees."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.dashboard.site import DOMAIN, Site
from tests.server_fixture import PATIENCE, free_port

if TYPE_CHECKING:
    from tests.dashboard.page import Page

pytestmark = pytest.mark.network


def test_a_peer_that_goes_down_is_told_and_told_when_it_is_back(page: "Page", tmp_path: Path) -> None:
    for name in ("east", "here"):
        (tmp_path / name).mkdir()
    east = Site(tmp_path / "east", '[notifier]\nallow = ["*"]\n')
    peer = f'[[peer]]\nname = "east"\nuri = "sip:{east.host}:{east.port}"\naddresses = ["127.0.0.0/8"]\n'
    follows = f'[pua_reginfo]\nsubscribe = ["sip:alice@{DOMAIN}"]\n'
    site = Site(tmp_path / "here", peer + follows)
    with site.running():
        page.open(site.url)
        page.until(lambda: "Peer east is down" in page.text("notices"))
        row = page.css("#peers tbody tr")[0]
        assert "✕ DOWN" in row.text
        assert page.driver.title == "(1 down) reginfo"
        assert page.text("peers-count") == "0 of 1 up, 1 down"
        assert page.css("#notices [role=alert]")
        with east.running():
            page.until(lambda: "● up" in page.text("peers"), patience=4 * PATIENCE)  # asked again after 15 to 30 s
            page.until(lambda: page.text("notices") == "")
            assert page.text("peers-count") == "1 of 1 up"
            assert page.driver.title == "reginfo"


def test_the_words_for_peers_do_not_rest_on_their_colours(page: "Page", tmp_path: Path) -> None:
    """Each state has its sign and its word; a peer of many contacts is counted."""
    site = Site(tmp_path, f'[[peer]]\nname = "quiet"\nuri = "sip:127.0.0.1:{free_port("127.0.0.1")}"\n')
    with site.running():
        page.open(site.url)
        page.until(lambda: page.css("#peers tbody tr"))
        assert "? unknown" in page.text("peers")
        script = """
        const done = arguments[0];
        import("/dashboard/peers.js").then(({ complaints, peersTable }) => {
          const peers = ["up", "down", "unknown"].map((state, index) => ({ name: `p${index}`, uri: "sip:p", mode: "mirror", state,
            lag_seconds: index === 1 ? 3725 : 0, contacts: 1200, subscriptions: 3 }));
          const rows = [...peersTable(peers).querySelectorAll("tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent));
          done([rows, complaints(peers)]);
        }, (error) => done(String(error)));
        """  # noqa: E501
        rows, complaints = page.driver.execute_async_script(script)
    assert [row[1] for row in rows] == ["● up", "✕ down", "? unknown"]
    assert [row[2:] for row in rows] == [["–", "1,200", "3"], ["1 h 02 min", "1,200", "3"], ["–", "1,200", "3"]]
    [complaint] = complaints
    assert re.fullmatch(
        r"Peer p1 is down since [\d:]{8}\. What is known of its 1,200 contacts is of that time\.", complaint
    )
