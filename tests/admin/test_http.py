"""The HTTP interface of a running server, as programs and attackers use it."""

import json
import socket
import stat
from collections.abc import Generator
from pathlib import Path
from urllib.parse import quote

import pytest

from reginfo.admin.token import open_token
from reginfo.errors import ConfigError
from tests.admin.site import Site, next_event
from tests.dashboard.site import register
from tests.server_fixture import PATIENCE, RunningServer, UdpPeer, running_server, status_of

pytestmark = pytest.mark.network

ALICE = "sip:alice@example.com"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("http"))


@pytest.fixture(scope="module")
def server(site: Site) -> Generator[RunningServer, None, None]:
    with running_server(site.folder, ["example.com"], site.options) as server:
        yield server


def path_of(contact: str = "", aor: str = ALICE) -> str:
    return f"/api/v1/aors/{quote(aor, safe='')}" + (f"/contacts/{quote(contact, safe='')}" if contact else "")


def test_a_contact_is_bound_shown_shortened_and_ended(server: RunningServer, site: Site) -> None:
    uri = "sip:alice@192.0.2.7:5060;transport=tcp"
    bound = site.ask("PUT", path_of(uri), {"expires": 600, "q": 0.5})
    assert (bound.status, bound.body["uri"], bound.body["q"], bound.body["event"]) == (200, uri, 0.5, "created")
    assert 595 <= bound.body["expires"] <= 600
    assert site.ask("GET", path_of(bound.body["id"])).body["uri"] == uri
    [shown] = site.ask("GET", path_of(aor="alice@example.com")).body["contacts"]
    assert shown["user_agent"] is None
    assert site.ask("POST", path_of() + "/shorten", {"expires": 60}).body == {"contacts": 1}
    assert site.ask("GET", path_of(uri)).body["event"] == "shortened"
    assert site.ask("DELETE", path_of(uri)).body == {"contacts": 1}
    gone = site.ask("GET", path_of())
    assert (gone.status, gone.media) == (404, "application/problem+json")
    assert gone.body == {"title": "Not Found", "status": 404, "detail": f"{ALICE} has no contact"}
    assert site.ask("DELETE", path_of()).status == 404


def test_what_a_phone_has_registered_is_listed_in_pages_and_as_a_stream(server: RunningServer, site: Site) -> None:
    users = [f"page{number}" for number in range(40)]
    for user in users:
        register(server, user)
    found: list[str] = []
    cursor = 0
    while cursor is not None:
        page = site.ask("GET", f"/api/v1/aors?cursor={cursor}&limit=7").body
        found += [one["aor"] for one in page["aors"]]
        cursor = page["cursor"]
    assert {f"sip:{user}@example.com" for user in users} <= set(found)
    stream = site.ask("GET", "/api/v1/aors", headers={"Accept": "application/x-ndjson"})
    assert stream.media == "application/x-ndjson"
    assert sorted(json.loads(line)["aor"] for line in stream.body.splitlines()) == sorted(found)


def test_events_are_told_as_they_happen_and_go_on_where_they_broke_off(server: RunningServer, site: Site) -> None:
    connection, response = site.events("?aor=sip:ev*")
    response.readline()  # it listens
    register(server, "other")
    register(server, "ev1")
    first = next_event(response)
    assert (first["event"], json.loads(first["data"])["aor"]) == ("registered", "sip:ev1@example.com")
    assert json.loads(first["data"])["id"] == first["id"]
    connection.close()
    register(server, "ev2")
    connection, response = site.events("?aor=sip:ev*", last=first["id"])
    assert json.loads(next_event(response)["data"])["aor"] == "sip:ev2@example.com"
    connection.close()


def test_events_go_on_after_a_restart(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with running_server(tmp_path, ["example.com"], site.options) as server:
        register(server, "before")
        connection, response = site.events("?after=0")
        first = next_event(response)
        register(server, "during")
        connection.close()
    with running_server(tmp_path, ["example.com"], site.options) as server:
        register(server, "after")
        connection, response = site.events(last=first["id"])
        assert [json.loads(next_event(response)["data"])["aor"] for _ in range(2)] == [
            "sip:during@example.com",
            "sip:after@example.com",
        ]
        connection.close()


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/api/v1/events?events=born", "events: born: not one of"),
        ("/api/v1/events?after=x", "'x' is not the id of an event"),
        ("/api/v1/aors?limit=0", "`int` >= 1"),
        ("/api/v1/aors?limit=1001", "`int` <= 1000"),
        ("/api/v1/aors?limt=1", "limt"),
        ("/api/v1/aors/sip:@", "aor: "),
        ("/api/v1/subscriptions?aor=x:y", "aor: "),
    ],
)
def test_what_makes_no_sense_is_explained(server: RunningServer, site: Site, path: str, detail: str) -> None:
    answer = site.ask("GET", path)
    assert (answer.status, answer.media) == (400, "application/problem+json")
    assert detail in answer.body["detail"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"expires": 0}', b'{"expire": 5}', b"\xff", b"[" * 5_000])
def test_a_body_that_cannot_be_used_is_refused(server: RunningServer, site: Site, body: bytes) -> None:
    answer = site.ask("POST", path_of(aor="sip:nobody@example.com") + "/shorten", body)
    assert answer.status == (404 if body == b"" else 400)


def test_a_contact_of_a_domain_that_is_not_served_is_refused(server: RunningServer, site: Site) -> None:
    answer = site.ask("PUT", path_of("sip:a@192.0.2.7", "sip:a@elsewhere.example"), {})
    assert (answer.status, answer.body["detail"]) == (400, "aor: sip:a@elsewhere.example is not of example.com")


def test_the_methods_of_the_control_socket_are_there(server: RunningServer, site: Site) -> None:
    call = {"jsonrpc": "2.0", "method": "core.version", "id": 7}
    assert site.ask("POST", "/RPC", call).body["result"].startswith("reginfo ")
    assert site.ask("POST", "/RPC", {**call, "method": "no.such"}).body["error"]["code"] == -32601
    assert site.ask("POST", "/RPC", b"x").body["error"]["code"] == -32700
    del call["id"]
    assert site.ask("POST", "/RPC", call).status == 204


def test_the_token_is_asked_for_everywhere_but_on_the_page(server: RunningServer, site: Site) -> None:
    for path in ("/api/v1/aors", "/api/v1/events", "/RPC", "/no/such", "/dashboard/no.js"):
        method = "POST" if path == "/RPC" else "GET"
        for token in (None, "x" * 43, "ä", site.token[:-1]):
            answer = site.ask(method, path, token=token)
            assert answer.status == (404 if path.startswith("/dashboard") else 401), path
            assert "openapi" in answer.body["detail"] or "admin.token_file" in answer.body["detail"], path
    for path in ("/", "/openapi.json"):
        assert site.ask("GET", path, token=None).status == 200
    assert site.ask("GET", "/", token=None).headers["Content-Security-Policy"].startswith("default-src 'self';")


@pytest.mark.parametrize(
    "path",
    ["/dashboard/../http.py", "/dashboard/%2e%2e/http.py", "/dashboard/..%2fhttp.py", "/dashboard/%00", "//etc/passwd"],
)
def test_no_path_leads_to_another_file(server: RunningServer, site: Site, path: str) -> None:
    assert site.ask("GET", path).status == 404


def test_methods_that_are_not_there_are_named(server: RunningServer, site: Site) -> None:
    answer = site.ask("POST", "/api/v1/aors")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"POST /RPC HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST /RPC HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_octets_that_are_no_request_are_refused(server: RunningServer, site: Site, octets: bytes) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE) as peer:
        peer.sendall(octets)
        answer = peer.recv(65_536)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer
    assert site.ask("GET", "/api/v1/statistics").status == 200
    assert "Traceback" not in server.log.read_text()


def test_a_body_that_is_too_long_is_refused(server: RunningServer, site: Site) -> None:
    assert site.ask("POST", "/RPC", b" " * 70_000).status == 413


def test_history_peers_and_inventory_have_their_form(server: RunningServer, site: Site) -> None:
    history = site.ask("GET", "/api/v1/history").body
    assert history["interval"] == 10
    assert {len(values) for values in history["series"].values()} == {len(history["series"]["time"])}
    assert site.ask("GET", "/api/v1/peers").body == []
    assert site.ask("GET", "/api/v1/subscriptions").body == {"subscriptions": [], "cursor": None}
    assert site.ask("GET", f"/api/v1/publications?aor={ALICE}").body == {"publications": [], "cursor": None}
    assert site.rpc("reg.peers") == []
    assert site.rpc("reg.publications", {"aor": ALICE}) == {"publications": [], "cursor": None}


def test_subscriptions_are_listed_in_pages_by_aor_and_by_role(tmp_path: Path) -> None:
    site = Site(tmp_path)
    followed = [f"sip:f{number}@127.0.0.1:9" for number in range(5)]
    with running_server(tmp_path, ["example.com"], site.options) as server, UdpPeer(server) as watcher:
        watcher.send(
            (
                f"SUBSCRIBE {ALICE} SIP/2.0\r\nVia: {watcher.via};branch=z9hG4bK-1\r\nFrom: <{ALICE}>;tag=w\r\n"
                f"To: <{ALICE}>\r\nCall-ID: w\r\nCSeq: 1 SUBSCRIBE\r\nMax-Forwards: 70\r\nEvent: reg\r\n"
                f"Contact: <sip:w@{watcher.via.split()[1]}>\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
            ).encode()
        )
        assert status_of(watcher.receive()) == 200
        for uri in followed:
            site.rpc("reg.subscribe", [uri])
        found: list[tuple[str, str]] = []
        cursor = 0
        while cursor is not None:
            page = site.ask("GET", f"/api/v1/subscriptions?cursor={cursor}&limit=2").body
            assert len(page["subscriptions"]) == 2
            found += [(one["role"], one["aor"]) for one in page["subscriptions"]]
            cursor = page["cursor"]
        assert found == [("notifier", ALICE), *(("subscriber", aor) for aor in followed)]
        for asked, number in (
            ({"role": "notifier"}, 1),
            ({"role": "subscriber"}, 5),
            ({"aor": followed[3]}, 1),
            ({"aor": ALICE}, 1),
            ({"aor": ALICE, "role": "subscriber"}, 0),
        ):
            page = site.rpc("reg.subscriptions", asked)
            assert (len(page["subscriptions"]), page["cursor"]) == (number, None), asked
        [watched] = site.rpc("reg.subscriptions", {"aor": ALICE})["subscriptions"]
        assert (watched["state"], watched["contacts"]) == ("active", None)
        assert watched["remote"] == ALICE
        assert 590 <= watched["expires"] <= 600
        assert site.rpc("reg.unsubscribe", [followed[3]]) == {"Servers": 1}
        assert site.rpc("reg.subscriptions", {"aor": followed[3]})["subscriptions"] == []


@pytest.mark.parametrize("what", ["aors", "subscriptions", "publications"])
def test_behind_the_last_place_there_is_nothing(server: RunningServer, site: Site, what: str) -> None:
    answer = site.ask("GET", f"/api/v1/{what}?cursor={2**31}")
    assert (answer.status, answer.body) == (200, {what: [], "cursor": None})


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(AssertionError, match=f"admin.listen 127.0.0.1:{port}: Address already in use"),
            running_server(tmp_path, ["example.com"], f'[admin]\nlisten = "127.0.0.1:{port}"\n'),
        ):
            pass
    assert not (tmp_path / "reginfo.sock").exists()


def test_the_token_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = open_token(path)
    assert len(token.text) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_token(path).text == token.text
    assert token.is_shown_by(f"bearer {token.text}")
    assert not token.is_shown_by(token.text)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_token(path)


@pytest.mark.parametrize("content", ["", "short", "x" * 600, "with a space in the middle of it", "\u00e9" * 20])
def test_a_token_that_cannot_be_used_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content, "utf-8")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="holds no token"):
        open_token(path)
