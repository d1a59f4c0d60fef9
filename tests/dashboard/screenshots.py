"""The pictures of docs/dashboard.md: `python -m tests.dashboard.screenshots [FOLDER]`, some four minutes."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.dashboard.page import PHONE, Page, dashboard
from tests.dashboard.site import DOMAIN, Site, register
from tests.server_fixture import RunningServer, free_port

ROOT: Final = Path(__file__).resolve().parents[2]
MAX_OCTETS: Final = 200_000

SCREEN: Final = (1440, 1020)
USERS: Final = 80_000  # of SIPp, in turn

RATES: Final = ((120, 25), (300, 35), (500, 40), (380, 30), (600, 45))
"Calls a second, and for how many seconds."

PHONES: Final = (
    ("alice", "Yealink SIP-T54W 96.86.0.100", ""),
    ("alice", "Linphone-Desktop/5.2.6", ";q=0.5"),
    ("bob", "Grandstream GXP2170 1.0.11.79", ""),
    ("carol", "baresip v3.14.0", ""),
    ("dave", "snomD785/10.1.169.16", ""),
    ("erin", "Z 5.6.4 v2.10.20.4", ""),
    ("frank", "Fanvil X6U 2.4.12", ""),
    ("grace", "MicroSIP/3.21.5", ""),
    ("heidi", "Yealink SIP-T46U 108.86.0.45", ""),
    ("ivan", "PolyEdge-E350-UA/8.1.2", ""),
)


def main(folder: Path) -> None:
    """Take all of them."""
    for picture in (rest, load, peer_down):
        with tempfile.TemporaryDirectory() as scratch:
            picture(Path(scratch), folder)


def rest(scratch: Path, folder: Path) -> None:
    """Ten phones, and one of them looked at; the same in the dark on a telephone."""
    with _scene(scratch) as (site, server, _, page):
        page.open(site.url)
        _phones(server, pause=4.0)
        page.look_up(f"sip:bob@{DOMAIN}")
        _settle(page, 25)
        _take(page, folder / "dashboard-rest.png")
        page.click("#back")
        page.resize(*PHONE, scheme="dark", mobile=True)
        _settle(page, 1)
        _take(page, folder / "dashboard-phone.png")


def load(scratch: Path, folder: Path) -> None:
    """SIPp registers at changing rates."""
    with _scene(scratch) as (site, server, _, page):
        page.open(site.url)
        users = scratch / "users.csv"
        users.write_text("SEQUENTIAL\n" + "".join(f"{30_000 + number}\n" for number in range(USERS)))
        for calls, seconds in RATES[:-1]:
            _sipp(server, users, calls, seconds).wait()
        last = _sipp(server, users, *RATES[-1])
        _settle(page, RATES[-1][1] - 10)
        _take(page, folder / "dashboard-load.png")
        last.wait()


def peer_down(scratch: Path, folder: Path) -> None:
    """A peer that was followed has gone."""
    with _scene(scratch) as (site, server, west, page):
        page.open(site.url)
        _phones(server, pause=2.0)
        west.stop()
        # It is asked for something, and does not answer.
        follow = [sys.executable, "-m", "reginfo", "subscribe", f"sip:grace@{DOMAIN}", "-c", "reginfo.toml"]
        subprocess.run(follow, cwd=site.folder, check=True, capture_output=True)
        page.until(lambda: page.css(".notice"))
        _settle(page, 40)
        _take(page, folder / "dashboard-peer-down.png")


@contextmanager
def _scene(scratch: Path) -> Generator[tuple[Site, RunningServer, RunningServer, Page], None, None]:
    """Run a server that follows phones at two peers, and a browser; the server and the second peer are yielded."""
    east, west = (Site(_made(scratch / name), '[notifier]\nallow = ["*"]\n') for name in ("east", "west"))
    peers = "".join(
        f'[[peer]]\nname = "{name}"\nuri = "sip:{site.host}:{site.port}"\naddresses = ["127.0.0.0/8"]\n'
        for name, site in (("east", east), ("west", west))
    )
    site = Site(_made(scratch / "server"), f'{peers}[pua_reginfo]\nsubscribe = ["sip:bob@{DOMAIN}"]\n')
    with east.running() as first, suppress(AssertionError), west.running() as second:
        for peer, number in ((first, 81), (second, 82)):
            register(peer, "bob", f"<sip:bob@198.51.100.{number}:5060>", user_agent="Yealink SIP-T46U 108.86.0.45")
        with site.running() as server, dashboard(scratch / "browser") as page:
            page.resize(*SCREEN)
            yield site, server, second, page


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _phones(server: RunningServer, pause: float) -> None:
    for user, user_agent, parameters in PHONES:
        contact = f"<sip:{user}@192.0.2.{20 + len(user_agent)}:5060>{parameters}"
        register(server, user, contact, user_agent=user_agent)
        time.sleep(pause)


def _sipp(server: RunningServer, users: Path, rate: int, seconds: int) -> "subprocess.Popen[bytes]":
    host, port = server.udp
    command: Sequence[str | Path] = (
        "sipp", f"{host}:{port}", "-sf", ROOT / "benchmarks" / "sipp" / "register.xml", "-inf", users,
        "-r", str(rate), "-m", str(rate * seconds), "-i", "127.0.0.1", "-p", str(free_port("127.0.0.1")), "-nostdin",
    )  # fmt: skip
    return subprocess.Popen(
        command, cwd=users.parent, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _settle(page: Page, seconds: float) -> None:
    """Let a plot have samples, which come with the time only."""
    time.sleep(seconds)
    page.run("document.activeElement.blur(); scrollTo(0, 0)")


def _take(page: Page, file: Path) -> None:
    page.driver.save_screenshot(str(file))
    size = file.stat().st_size
    assert size < MAX_OCTETS, f"{file} has {size} octets"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs")
