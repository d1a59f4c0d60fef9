"""The helpers of this folder do what they say, so that a test that uses them fails for its own reasons."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop import documents
from tests.interop.dissector import captured
from tests.interop.kamailio import (
    BRIEF,
    BUSY,
    CHALLENGED,
    DOMAIN,
    FORBIDDEN,
    MIN_EXPIRES,
    MOVED,
    MOVED_TO,
    PASSWORD,
    RETRY_AFTER,
    SILENT,
    Kamailio,
    eventually,
    presence_server,
    registrar,
    upstream_registrar,
)
from tests.interop.peer import Compositor, Neighbour, Peer, Phone, Publisher, Watcher
from tests.server_fixture import running_server

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("kamailio")]

ALICE = f"sip:alice@{DOMAIN}"
PATH = "<sip:relay@127.0.0.9;lr;received=sip:127.0.0.8:7777>"


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- Kamailio


def test_kamailio_and_its_children_end_with_the_block(tmp_path: Path) -> None:
    with registrar(tmp_path, ("127.0.0.1", 9)) as server:
        pids = server.pids
        assert pids[0] == server.process.pid
        assert len(pids) > 3
        assert all(map(_lives, pids))
    assert not any(map(_lives, pids))


def test_kamailio_ends_with_a_test_run_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from tests.interop.kamailio import registrar\n"
        "with registrar(Path(sys.argv[1]), ('127.0.0.1', 9)) as server:\n"
        "    print(*server.pids, flush=True); time.sleep(600)"
    )
    run = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    with run.stdout:
        pids = [int(pid) for pid in run.stdout.readline().split()]
    assert pids
    run.send_signal(signal.SIGKILL)
    run.wait()
    eventually(lambda: not any(map(_lives, pids)), "the end of Kamailio")


def test_a_kamailio_that_dies_fails_its_block(tmp_path: Path) -> None:
    def die() -> None:
        with registrar(tmp_path, ("127.0.0.1", 9)) as server:
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()

    with pytest.raises(AssertionError, match="registrar died"):
        die()


def test_a_configuration_that_kamailio_refuses_is_shown(tmp_path: Path) -> None:
    refused = registrar(tmp_path, ("127.0.0.1", 9), options='modparam("nonsense", "x", 1)')
    with pytest.raises(AssertionError, match=r"did not start(.|\n)*nonsense"), refused:
        pass


def test_tables_and_counters_of_kamailio_can_be_read(tmp_path: Path) -> None:
    with Neighbour() as neighbour, registrar(tmp_path, neighbour.address) as server:
        with Phone(server.address, ALICE) as phone:
            assert server.lookup(ALICE) is None
            answered = phone.register(expires=300, headers=["User-Agent: phone", "Supported: path", f"Path: {PATH}"])
            assert answered.status == 200
            assert neighbour.publication(ALICE).message.method == "PUBLISH"
            row = server.contacts("alice")[phone.contact]
            assert (row.user_agent, row.received, row.path) == ("phone", "sip:127.0.0.8:7777", PATH)
            assert row.call_id == phone.call_id
            target = server.lookup(ALICE)
            assert target is not None
            assert (target.uri, target.next_hop) == (phone.contact, PATH.strip("<>"))
        assert server.statistics("usrloc")["usrloc:location_contacts"] == 1
        assert server.statistics()["core:rcv_requests_register"] == 1
        server.subscribe("sip:bob@example.com", 77)
        assert neighbour.receive_subscribe().message.request_uri == "sip:bob@example.com"


# --- the upstream registrar


@pytest.fixture(scope="module")
def upstream(kamailio: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kamailio]:
    with upstream_registrar(tmp_path_factory.mktemp("upstream")) as server:
        yield server


@contextmanager
def _phone(server: Kamailio, user: str) -> Iterator[Phone]:
    with Phone(server.address, f"sip:{user}@{DOMAIN}") as phone:
        yield phone


def test_upstream_keeps_path_and_what_a_relay_says_of_the_source(upstream: Kamailio) -> None:
    with _phone(upstream, "relayed") as phone:
        assert phone.register(headers=[f"Path: {PATH}"]).status == 200
        row = upstream.contacts("relayed")[phone.contact]
        assert (row.path, row.received) == (PATH, "sip:127.0.0.8:7777")


def test_upstream_takes_the_source_without_path(upstream: Kamailio) -> None:
    with _phone(upstream, "direct") as phone:
        assert phone.register().status == 200
        row = upstream.contacts("direct")[phone.contact]
        assert (row.path, row.received) == (None, "sip:{}:{}".format(*phone.address))


def test_upstream_may_insist_on_support_of_path(kamailio: Path, tmp_path: Path) -> None:
    with upstream_registrar(tmp_path, path="strict") as server, _phone(server, "alice") as phone:
        assert phone.register(headers=[f"Path: {PATH}"]).status == 420
        answered = phone.register(headers=[f"Path: {PATH}", "Supported: path"])
        assert (answered.status, answered.header("path")) == (200, PATH)


def test_upstream_challenges(upstream: Kamailio) -> None:
    with _phone(upstream, CHALLENGED) as phone:
        answered = phone.register()
        assert answered.status == 401
        assert (answered.header("www-authenticate") or "").startswith("Digest ")
        assert phone.register(password="wrong").status == 401
        assert phone.register(password=PASSWORD).status == 200


def test_upstream_redirects(upstream: Kamailio) -> None:
    with _phone(upstream, MOVED) as phone:
        answered = phone.register()
        assert (answered.status, answered.message.contacts[0].uri) == (302, MOVED_TO)


def test_upstream_wants_longer_intervals(upstream: Kamailio) -> None:
    with _phone(upstream, BRIEF) as phone:
        answered = phone.register(expires=MIN_EXPIRES - 1)
        assert (answered.status, answered.message.min_expires) == (423, MIN_EXPIRES)
        assert phone.register(expires=MIN_EXPIRES).status == 200


def test_upstream_is_busy_forbids_and_keeps_silent(upstream: Kamailio) -> None:
    with _phone(upstream, BUSY) as phone:
        answered = phone.register()
        assert (answered.status, answered.message.retry_after) == (503, RETRY_AFTER)
    with _phone(upstream, FORBIDDEN) as phone:
        assert phone.register().status == 403
    with _phone(upstream, SILENT) as phone:
        with pytest.raises(AssertionError, match="did not arrive"):
            phone.register(timeout=0.2)
        # One worker: what it answers now comes after what it does not.
        upstream.options()
        assert phone.nothing()


# --- raw peers


def test_a_request_that_comes_again_is_answered_again_and_not_reported() -> None:
    with Peer() as server, Peer(server.address) as client:
        octets = client.compose("OPTIONS", server.uri("x"))
        client.send(octets)
        client.send(octets)
        request = server.receive()
        assert server.nothing()
        server.answer(request, 200)
        client.send(octets)
        assert server.nothing()
        assert len(server.repeated) == 2
        first, again = client.receive(), client.receive()
        assert first.octets == again.octets


def test_what_does_not_match_is_kept_in_its_order() -> None:
    with Peer() as server, Peer(server.address) as client:
        for number in range(1, 5):
            client.send(client.compose("OPTIONS", server.uri(), cseq=number))
        assert server.receive(lambda found: found.message.cseq == 3).message.cseq == 3
        assert not server.nothing()
        assert [found.message.cseq for found in server.pending()] == [1, 2, 4]
        with pytest.raises(AssertionError, match="NOTIFY did not arrive"):
            server.receive(what="NOTIFY", timeout=0.01)


def test_watcher_and_publisher_stay_in_step_with_a_presence_server(tmp_path: Path) -> None:
    body = documents.document(documents.registration(ALICE, documents.contact("sip:alice@127.0.0.1:9")))
    with (
        presence_server(tmp_path) as server,
        Watcher(server.address, ALICE) as watcher,
        Publisher(server.address, ALICE) as publisher,
    ):
        assert watcher.subscribe().status == 200
        assert watcher.notify().document is None
        assert publisher.publish(body).status == 200
        document = watcher.until(lambda found: found.document is not None).document
        assert document is not None
        assert document.registration.events == {"sip:alice@127.0.0.1:9": ("active", "registered")}
        assert [(held.user, held.entity_tag, held.body) for held in server.presentities()] == [
            ("alice", publisher.entity_tag, body)
        ]
        assert publisher.remove().status == 200
        watcher.notify()
        assert watcher.unsubscribe().status == 200
        watcher.until(lambda found: found.subscription_state.state == "terminated")
        assert len(watcher.notifications) == 4


def test_a_raw_phone_registers_with_reginfo(tmp_path: Path) -> None:
    with running_server(tmp_path, [DOMAIN], '[store]\nurl = "memory:"\n') as server, Phone(server.udp, ALICE) as phone:
        answered = phone.register(expires=300)
        assert (answered.status, [contact.uri for contact in answered.message.contacts]) == (200, [phone.contact])
        assert phone.unregister().message.contacts == []


# --- the dissector


@pytest.mark.usefixtures("tshark")
def test_the_dissector_reads_what_was_captured(tmp_path: Path) -> None:
    with Peer() as server, Peer(server.address) as client, captured(tmp_path, server.address[1]) as capture:
        body = documents.document(documents.registration(ALICE, documents.contact("sip:alice@127.0.0.1:9")))
        client.send(
            client.compose("NOTIFY", server.uri(), [f"Content-Type: {documents.MEDIA_TYPE}"], body, call_id="a")
        )
        server.answer(server.receive(), 415)
        client.receive()
    request, response = capture.messages
    assert (request.method, request.status, request.source) == ("NOTIFY", None, client.address)
    assert (response.method, response.status, response.destination) == (None, 415, client.address)
    assert request.first("sip.Call-ID") == "a"
    assert request.is_xml
    assert request.first("reginfo.registration.aor") == ALICE
    assert [(one.warnings, one.malformed, one.unknown_xml) for one in capture.messages] == [((), False, ())] * 2


@pytest.mark.usefixtures("tshark")
@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(b"Content-Length 0\r\n\r\n", id="header without colon"),
        pytest.param(b"Content-Length: none\r\n\r\n", id="length that is no number"),
        pytest.param(b"Content-Length: 0\r\n", id="no empty line"),
    ],
)
def test_the_dissector_finds_fault(tmp_path: Path, tail: bytes) -> None:
    with Peer() as server, Peer(server.address) as client, captured(tmp_path, server.address[1]) as capture:
        client.send(b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n" + tail)
    (message,) = capture.messages
    assert len(message.warnings) == 1, message


@pytest.mark.usefixtures("tshark")
def test_the_dissector_names_what_no_registration_document_has(tmp_path: Path) -> None:
    with Compositor() as server, Peer(server.address) as client, captured(tmp_path, server.address[1]) as capture:
        contact = documents.contact("sip:alice@127.0.0.1:9", user_agent="x")
        body = documents.document(documents.registration(ALICE, contact))
        client.send(client.compose("PUBLISH", ALICE, [f"Content-Type: {documents.MEDIA_TYPE}"], body))
        server.publication()
    assert capture.messages[0].unknown_xml == ('user_agent="x"',)
