"""The example configurations of contrib/examples: each is checked and served, and does what its first lines say.

Only addresses and folders are others than in the files, so that they can be used beside each other.
"""

import asyncio
import json
import re
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from reginfo.admin.control import ControlClient
from tests.certificates import Authority
from tests.conftest import ROOT
from tests.interop.kamailio import eventually, registrar
from tests.interop.peer import Phone
from tests.server_fixture import PATIENCE, Address, free_port, loopback_address
from tests.test_examples import program, reginfo

FOLDER = ROOT / "contrib" / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.toml"))
ALICE = "sip:alice@example.com"
SYSTEM = ("/etc/reginfo", "/var/lib/reginfo", "/run/reginfo")
REGISTER = (
    "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/WSS phone.invalid;branch=z9hG4bK1\r\n"
    "To: <sip:alice@example.com>\r\nFrom: <sip:alice@example.com>;tag=1\r\n"
    "Call-ID: 1\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n"
    "Contact: <sip:alice@phone.invalid;transport=ws>\r\nContent-Length: 0\r\n\r\n"
)

pytestmark = pytest.mark.network


def address() -> Address:
    host = loopback_address()
    return host, free_port(host)


def written(name: str, folder: Path, own: Address, moved: Mapping[str, str] | None = None) -> Path:
    """Write an example into a folder, with the server at an address of its own, and what it needs beside it."""
    text = (FOLDER / f"{name}.toml").read_text("utf-8")
    host, port = own
    places = {path: str(folder / path[1:]) for path in SYSTEM} | dict(moved or {})
    for given in re.findall(r"(?:127\.0\.0\.1|0\.0\.0\.0):\d+", text):
        places.setdefault(given, f"{host}:{port if given.endswith(':5060') else free_port(host)}")
    for given, place in places.items():
        text = text.replace(given, place)
    for path in SYSTEM:
        (folder / path[1:]).mkdir(parents=True)
    file = folder / "reginfo.toml"
    file.write_text(text)
    (folder / "hook.secret").write_text("a secret that application and server share\n")
    (folder / "hook.secret").chmod(0o600)
    if "[tls]" in text:
        Authority(folder / "etc/reginfo").certify("example.com", "DNS:example.com")
    if "enabled    = true" in text:
        add = [sys.executable, "-m", "reginfo", "user", "add", "alice", "--password-stdin", "-c", str(file)]
        subprocess.run(add, cwd=folder, input=b"secret\n", check=True, capture_output=True)
    return file


@contextmanager
def serving(file: Path) -> Generator[str, None, None]:
    """Serve a configuration for the length of a block, and give what it listens on."""
    with program(file.parent, "-m", "reginfo", "serve", "-c", file, patience=12 * PATIENCE) as server:
        assert server.stdout is not None
        yield next(line for line in server.stdout if "listening" in line)
        server.terminate()
        rest, _ = server.communicate(timeout=PATIENCE)
        assert server.returncode == 0, rest


def contacts(folder: Path, aor: str = ALICE) -> dict[str, str]:
    """Return the origin of each contact that a server has of an address-of-record."""
    with ControlClient(str(folder / "reginfo.sock")) as client:
        found = client.call("ul.dump", [])["AoRs"]
    return {one["Address"]: one["Origin"] for each in found if each["AoR"] == aor for one in each["Contacts"]}


def followed(folder: Path) -> set[str]:
    """Return the states of a server's subscriptions at others."""
    with ControlClient(str(folder / "reginfo.sock")) as client:
        return {one["state"] for one in client.call("reg.subscriptions", [])["subscriptions"]}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_can_be_checked_and_served(name: str, tmp_path: Path) -> None:
    file = written(name, tmp_path, address())
    assert reginfo(tmp_path, "serve", "--check-config", "-c", str(file)) == f"{file}: ok\n"
    with serving(file) as listening:
        for given in re.findall(r'"((?:udp|tcp|tls|wss?):[^"]+)"', file.read_text()):
            assert given in listening


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_listed_where_people_look(name: str) -> None:
    assert f"]({name}.toml)" in (FOLDER / "README.md").read_text("utf-8")


def test_a_registrar_in_memory_forgets(tmp_path: Path) -> None:
    own = address()
    file = written("memory", tmp_path, own)
    with serving(file), Phone(own, ALICE) as phone:
        assert phone.register().status == 200
        assert contacts(tmp_path) == {phone.contact: "local"}
    with serving(file):
        assert contacts(tmp_path) == {}


def test_an_s_cscf_tells_the_other_identities(tmp_path: Path) -> None:
    own = address()
    with serving(written("ims", tmp_path, own)), Phone(own, "sip:001010123456789@ims.example.com") as phone:
        answer = phone.register(headers=["Supported: path", "Path: <sip:pcscf.ims.example.com;lr>"], expires=600_000)
        assert answer.status == 200
        assert answer.header("P-Associated-URI") == "<sip:alice@ims.example.com>, <tel:+15551234>"
        assert answer.header("Service-Route") == "<sip:orig@scscf.ims.example.com;lr>"


def test_a_relay_knows_what_is_registered_behind_it(tmp_path: Path) -> None:
    own, behind = address(), address()
    for name in ("upstream", "relay"):
        (tmp_path / name).mkdir()
    upstream = written("memory", tmp_path / "upstream", behind)
    upstream.write_text(
        upstream.read_text()
        + f'[registrar]\npath_mode = "lazy"\n[notifier]\nallow = ["sip:reginfo@{own[0]}:{own[1]}"]\n'
    )
    relay = written("relay", tmp_path / "relay", own, {"192.0.2.80:5060": "{}:{}".format(*behind)})
    with serving(upstream), serving(relay), Phone(own, ALICE) as phone:
        assert phone.register().status == 200
        eventually(lambda: contacts(relay.parent) == {phone.contact: "peer:upstream"})
        assert contacts(upstream.parent) == {phone.contact: "local"}


def test_a_phone_moves_between_two_servers_that_mirror_each_other(tmp_path: Path) -> None:
    one, two = address(), address()
    given = ("127.0.6.1:5060", "127.0.6.2:5060")
    files = []
    for name, places in (("one", (one, two)), ("two", (two, one))):
        (tmp_path / name).mkdir()
        moved = {text: "{}:{}".format(*place) for text, place in zip(given, places, strict=True)}
        files.append(written("mirror", tmp_path / name, places[0], moved))
    here, there = (file.parent for file in files)
    with ExitStack() as stack:
        with serving(files[0]):
            stack.enter_context(serving(files[1]))
            eventually(lambda: followed(there) == {"active"})
        # The first one found nobody there; started again it does not wait for its next try.
        stack.enter_context(serving(files[0]))
        eventually(lambda: followed(here) == {"active"})
        phone = stack.enter_context(Phone(one, ALICE))
        assert phone.register().status == 200
        eventually(lambda: contacts(there) == {phone.contact: "peer:other"}, timeout=2 * PATIENCE)
        reginfo(tmp_path, "register", ALICE, phone.contact, "--server", "sip:{}:{}".format(*two))
        assert contacts(there) == {phone.contact: "local"}
        eventually(lambda: contacts(here) == {phone.contact: "peer:other"}, timeout=2 * PATIENCE)


@pytest.mark.usefixtures("kamailio")
def test_kamailio_is_in_step_both_ways(tmp_path: Path) -> None:
    own = address()
    (tmp_path / "kamailio").mkdir()
    (tmp_path / "reginfo").mkdir()
    with registrar(tmp_path / "kamailio", own) as theirs:
        place = theirs.uri().removeprefix("sip:")
        file = written("kamailio", tmp_path / "reginfo", own, {"192.0.2.80:5060": place})
        with serving(file), Phone(own, ALICE) as here, Phone(theirs.address, ALICE) as there:
            theirs.subscribe(ALICE)
            assert there.register().status == 200
            eventually(lambda: contacts(file.parent).get(there.contact, "").startswith("publication:kam."))
            assert here.register().status == 200
            eventually(lambda: here.contact in theirs.contacts("alice@example.com"), timeout=3 * PATIENCE)


async def test_a_browser_connects_from_the_page_that_is_listed(tmp_path: Path) -> None:
    host, port = address()
    file = written("browser", tmp_path, (host, port))
    trust = ssl.create_default_context(cafile=tmp_path / "etc/reginfo/ca.pem")
    with serving(file) as listening:
        (secure,) = re.findall(rf"wss:{re.escape(host)}:(\d+)", listening)

        async def answer(origin: str) -> str:
            async with connect(
                f"wss://{host}:{secure}",
                origin=Origin(origin),
                subprotocols=[Subprotocol("sip")],
                ssl=trust,
                server_hostname="example.com",
            ) as phone:
                await phone.send(REGISTER)
                return str(await asyncio.wait_for(phone.recv(), PATIENCE))

        assert (await answer("https://phone.example.com")).startswith("SIP/2.0 401 ")
        with pytest.raises(InvalidStatus, match="403"):
            await answer("https://elsewhere.example.com")


def test_an_application_is_told_of_sales_alone(tmp_path: Path) -> None:
    told: Queue[dict[str, Any]] = Queue()

    class Application(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    own = address()
    with ThreadingHTTPServer(("127.0.0.1", 0), Application) as application:
        threading.Thread(target=application.serve_forever, daemon=True).start()
        file = written("webhook", tmp_path, own, {"127.0.0.1:9000": f"127.0.0.1:{application.server_port}"})
        with serving(file), Phone(own, ALICE) as alice, Phone(own, "sip:sales-7@example.com") as sales:
            assert alice.register().status == 200
            assert sales.register().status == 200
            event = told.get(timeout=PATIENCE)
        application.shutdown()
    assert (event["aor"], event["event"], event["contact"]["uri"]) == (sales.aor, "registered", sales.contact)


def test_metrics_need_no_token_and_the_rest_does(tmp_path: Path) -> None:
    own = address()
    file = written("metrics", tmp_path, own)
    (at,) = re.findall(r'listen     = "(.+)"', file.read_text())
    with serving(file):
        with urlopen(f"http://{at}/metrics", timeout=PATIENCE) as answer:
            assert b"reginfo_registered_aors 0" in answer.read()
        with pytest.raises(HTTPError, match="401"):
            urlopen(f"http://{at}/api/v1/aors", timeout=PATIENCE)
        token = (tmp_path / "reginfo.token").read_text().strip()
        request = Request(f"http://{at}/api/v1/aors", headers={"Authorization": f"Bearer {token}"})
        with urlopen(request, timeout=PATIENCE) as answer:
            assert json.load(answer) == {"aors": [], "cursor": None}


def test_what_the_image_serves_can_be_checked(tmp_path: Path) -> None:
    shutil.copy(ROOT / "contrib" / "docker" / "reginfo.toml", tmp_path)
    subprocess.run(
        [sys.executable, "-m", "reginfo", "user", "add", "alice", "--password-stdin"],
        cwd=tmp_path, input=b"secret\n", check=True, capture_output=True,
    )  # fmt: skip
    assert reginfo(tmp_path, "serve", "--check-config") == "reginfo.toml: ok\n"
