"""This project's server beside the real Kamailio: each on the other end of every wire."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from reginfo.admin.control import ControlClient
from tests.interop.dissector import captured
from tests.interop.documents import Document
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
    PresenceServer,
    Registrar,
    eventually,
    presence_server,
    registrar,
    upstream_registrar,
)
from tests.interop.peer import Phone, Received, Watcher
from tests.server_fixture import Address, RunningServer, free_port, loopback_address, running_server

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("kamailio")]

PROMPT: Final = "[notifier]\nmin_notify_interval = 0\nallow = ['*']\n"
"Watchers hear of every change at once."


def own_address() -> Address:
    """Return where a server of this project may listen; the other's configuration names it before it starts."""
    host = loopback_address()
    return host, free_port(host)


def uri_of(address: Address) -> str:
    return "sip:{}:{}".format(*address)


@contextmanager
def server_at(address: Address, folder: Path, options: str) -> Iterator[RunningServer]:
    folder.mkdir()
    with running_server(folder, [DOMAIN], f'store = {{ url = "memory:" }}\n{PROMPT}{options}', address) as server:
        yield server


def user_of(aor: str) -> str:
    """Return the key of an AoR where Kamailio does without domains."""
    return aor.partition(":")[2].partition("@")[0]


def learned_key(aor: str) -> str:
    """Return the key under which Kamailio keeps what a NOTIFY told it: with the domain, whatever use_domain says."""
    return aor.partition(":")[2]


def call(server: RunningServer, method: str, *parameters: Any) -> Any:
    with ControlClient(str(server.folder / "reginfo.sock")) as client:
        return client.call(method, list(parameters))


def contacts(server: RunningServer, aor: str) -> dict[str, dict[str, Any]]:
    """Return what a server's location service has of an AoR, by URI."""
    found = call(server, "ul.dump")["AoRs"]
    return {one["Address"]: one for each in found if each["AoR"] == aor for one in each["Contacts"]}


def command(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-m", "reginfo", *arguments], stdout=subprocess.PIPE, text=True)


def told(uri: str, state: str, event: str) -> Callable[[Received], bool]:
    """Match a NOTIFY in which a contact has a state after an event."""

    def matches(notify: Received) -> bool:
        document: Document | None = notify.document
        return document is not None and any(
            registration.events.get(uri) == (state, event) for registration in document.registrations
        )

    return matches


# --- Its registrar PUBLISHes to our compositor


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Registrar, RunningServer]]:
    """Kamailio's registrar, and our compositor at its outbound proxy."""
    address = own_address()
    (tmp_path / "kamailio").mkdir()
    with (
        registrar(tmp_path / "kamailio", address) as theirs,
        server_at(
            address,
            tmp_path / "reginfo",
            f'[[peer]]\nname = "kam"\nuri = "{theirs.uri()}"\n[pua_reginfo]\npublish_reginfo = false\n',
        ) as ours,
    ):
        yield theirs, ours


def test_watchers_here_hear_of_phones_there(pair: tuple[Registrar, RunningServer], aor: str) -> None:
    theirs, ours = pair
    with Watcher(ours.udp, aor) as watcher, Phone(theirs.address, aor) as phone, Phone(theirs.address, aor) as other:
        assert watcher.subscribe().status == 200
        assert watcher.notify().document is not None
        phone.register(headers=["User-Agent: Desk & Soft/1"])
        watcher.until(told(phone.contact, "active", "created"))
        other.register()
        watcher.until(told(other.contact, "active", "created"))
        phone.register()
        watcher.until(told(phone.contact, "active", "refreshed"))
        # Row 3: de-registering one device of several removes it.
        phone.unregister()
        watcher.until(lambda notify: notify.document is not None and gone(notify.document, phone.contact))
        assert set(contacts(ours, aor)) == {other.contact}
        other.unregister()
        watcher.until(lambda notify: notify.document is not None and gone(notify.document, other.contact))
        assert contacts(ours, aor) == {}


def gone(document: Document, uri: str) -> bool:
    return all(
        registration.events.get(uri, ("terminated", ""))[0] == "terminated" for registration in document.registrations
    ) and any(uri in registration.events for registration in document.registrations)


def test_what_it_publishes_of_a_phone_is_known_here(pair: tuple[Registrar, RunningServer], aor: str) -> None:
    """Row 6: path, received and user agent are kept."""
    theirs, ours = pair
    path = "<sip:edge@127.0.0.9;lr;received=sip:127.0.0.8:7777>"
    with Phone(theirs.address, aor) as phone:
        phone.register(headers=["User-Agent: Desk/1", "Supported: path", f"Path: {path}"])
        known = eventually(lambda: contacts(ours, aor).get(phone.contact))
    assert known["User-Agent"] == "Desk/1"
    assert known["Path"] == path
    assert known["Received"] == "sip:127.0.0.8:7777"
    assert known["Call-ID"] == phone.call_id
    assert known["Origin"].startswith("publication:kam.")
    assert 590 < known["Expires"] <= 600


def test_a_contact_that_expires_there_is_told_here(pair: tuple[Registrar, RunningServer], aor: str) -> None:
    """Row 4: `expired` reaches watchers."""
    theirs, ours = pair
    with Watcher(ours.udp, aor) as watcher, Phone(theirs.address, aor) as phone:
        watcher.subscribe()
        watcher.notify()
        phone.register(expires=1)
        watcher.until(told(phone.contact, "active", "created"))
        watcher.until(told(phone.contact, "terminated", "expired"))


# --- Our publisher to its presence server


@pytest.fixture
def publishing_here(presence: PresenceServer, tmp_path: Path) -> Iterator[RunningServer]:
    """Our registrar, which publishes to Kamailio's presence server."""
    with server_at(
        own_address(),
        tmp_path / "reginfo",
        f'[pua_reginfo]\noutbound_proxy = "{presence.uri()}"\ndefault_domain = "{DOMAIN}"\n',
    ) as ours:
        yield ours


def test_watchers_there_hear_of_phones_here(
    publishing_here: RunningServer, presence: PresenceServer, aor: str, tmp_path: Path
) -> None:
    with (
        Watcher(presence.address, aor) as watcher,
        Phone(publishing_here.udp, aor) as phone,
        Phone(publishing_here.udp, aor) as other,
    ):
        assert watcher.subscribe().status in (200, 202)
        watcher.notify()
        with captured(tmp_path, presence.port, publishing_here.udp[1]) as capture:
            phone.register()
            watcher.until(told(phone.contact, "active", "registered"))
            other.register()
            watcher.until(told(other.contact, "active", "registered"))
            phone.unregister()
            watcher.until(told(phone.contact, "terminated", "unregistered"))
            call(publishing_here, "reg.reject", aor, other.contact)
            watcher.until(told(other.contact, "terminated", "rejected"))
        dissected = [one for one in capture.messages if one.method == "PUBLISH"]
        assert len(dissected) >= 4
        for one in dissected:
            assert not one.malformed
            assert not one.warnings
            assert one.is_xml
            assert not one.unknown_xml


def test_an_aor_has_one_publication_whatever_happens(
    publishing_here: RunningServer, presence: PresenceServer, aor: str
) -> None:
    """Row 10: no duplicate documents, also where changes follow each other at once."""
    user = user_of(aor)
    with Phone(publishing_here.udp, aor) as phone:
        for _ in range(20):
            phone.register()
            phone.unregister()
        phone.register()

        def published() -> bool:
            found = [one for one in presence.presentities() if one.user == user]
            return (
                len(found) == 1 and b'event="registered"' in found[0].body and phone.contact.encode() in found[0].body
            )

        eventually(published)


# --- Our watcher at its presence server


def test_reginfo_watch_shows_what_its_presence_server_tells(
    presence: PresenceServer, publishing_here: RunningServer, aor: str
) -> None:
    watching = command("watch", aor, "--server", presence.uri(), "--json")
    assert watching.stdout is not None
    try:
        with Phone(publishing_here.udp, aor) as phone:
            phone.register()
            shown = json.loads(watching.stdout.readline())
            assert shown["aor"] == aor
            assert [one["uri"] for one in shown["contacts"]] == [phone.contact]
            phone.unregister()
            shown = json.loads(watching.stdout.readline())
            assert shown["registration"] == "terminated"
            assert [one["event"] for one in shown["contacts"]] == ["unregistered"]
    finally:
        watching.terminate()
        watching.communicate(timeout=10)
    assert watching.returncode == 0


# --- Its reginfo_subscribe and reginfo_handle_notify at our notifier


def test_it_learns_from_our_notifier(kamailio: Path, tmp_path: Path, aor: str) -> None:
    address = own_address()
    key = learned_key(aor)
    (tmp_path / "kamailio").mkdir()
    with (
        registrar(tmp_path / "kamailio", address, publish=False) as theirs,
        server_at(
            address, tmp_path / "reginfo", f'[[peer]]\nname = "kam"\nuri = "{theirs.uri()}"\nprofile = "kamailio"\n'
        ) as ours,
        Phone(ours.udp, aor) as phone,
        Phone(ours.udp, aor) as other,
    ):
        theirs.subscribe(aor)
        phone.register(headers=["User-Agent: Desk/1"])
        row = eventually(lambda: theirs.contacts(key).get(phone.contact))
        assert row.call_id == phone.call_id
        other.register()
        eventually(lambda: other.contact in theirs.contacts(key))
        # Rows 3 and 7: with the `kamailio` profile the terminated contact leaves, also for an administrative event.
        phone.unregister()
        eventually(lambda: set(theirs.contacts(key)) == {other.contact})
        call(ours, "reg.deactivate", aor, other.contact)
        eventually(lambda: not theirs.contacts(key))


def test_both_directions_at_once_without_an_echo(kamailio: Path, tmp_path: Path, aor: str) -> None:
    """It PUBLISHes to us and follows us, we tell it and follow what it publishes; nothing comes back."""
    address = own_address()
    (tmp_path / "kamailio").mkdir()
    with (
        registrar(tmp_path / "kamailio", address) as theirs,
        server_at(
            address, tmp_path / "reginfo", f'[[peer]]\nname = "kam"\nuri = "{theirs.uri()}"\nprofile = "kamailio"\n'
        ) as ours,
        Phone(ours.udp, aor) as here,
        Phone(theirs.address, aor) as there,
        Watcher(ours.udp, aor) as watcher,
    ):
        watcher.subscribe()
        watcher.notify()
        theirs.subscribe(aor)
        there.register()
        watcher.until(told(there.contact, "active", "created"))
        here.register()
        watcher.until(told(here.contact, "active", "registered"))
        eventually(lambda: here.contact in theirs.contacts(learned_key(aor)))
        eventually(lambda: set(contacts(ours, aor)) == {here.contact, there.contact})
        here.unregister()
        watcher.until(told(here.contact, "terminated", "unregistered"))
        eventually(lambda: here.contact not in theirs.contacts(learned_key(aor)))
        assert set(contacts(ours, aor)) == {there.contact}
        requests = call(ours, "stats.get_statistics", "requests:")["requests"]
        # Each change was published or told once; an echo would go on for ever.
        assert requests["PUBLISH"] <= 3
        assert watcher.nothing(within=0.3)


# --- Relay mode in front of its registrar


@pytest.fixture(scope="module")
def upstream(kamailio: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kamailio]:
    with upstream_registrar(tmp_path_factory.mktemp("upstream"), path="lazy") as server:
        yield server


@pytest.fixture(scope="module")
def relay(upstream: Kamailio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with server_at(
        own_address(),
        tmp_path_factory.mktemp("relay") / "reginfo",
        f'[registrar]\nmode = "relay"\nupstream = "{upstream.uri()}"\n',
    ) as server:
        yield server


def test_a_registration_goes_through_the_relay(relay: RunningServer, upstream: Kamailio, aor: str) -> None:
    with Phone(relay.udp, aor) as phone:
        answer = phone.register(headers=["Supported: path"])
        assert answer.status == 200
        assert [one.uri for one in answer.message.contacts] == [phone.contact]
        row = upstream.contacts(user_of(aor))[phone.contact]
        assert row.path is not None
        assert "{}:{}".format(*relay.udp) in row.path
        assert phone.unregister().status == 200
        assert upstream.contacts(user_of(aor)) == {}


@pytest.mark.parametrize(
    ("user", "status", "header", "value"),
    [
        (MOVED, 302, "contact", MOVED_TO),
        (FORBIDDEN, 403, None, None),
        (BRIEF, 423, "min-expires", str(MIN_EXPIRES)),
        (CHALLENGED, 401, "www-authenticate", "Digest"),
    ],
)
def test_its_refusals_pass_the_relay(
    relay: RunningServer, user: str, status: int, header: str | None, value: str | None
) -> None:
    with Phone(relay.udp, f"sip:{user}@{DOMAIN}") as phone:
        answer = phone.register(expires=MIN_EXPIRES - 1 if user == BRIEF else 600)
        assert answer.status == status
        if header is not None:
            assert value is not None
            assert value in (answer.header(header) or "")


def test_a_phone_authenticates_through_the_relay(relay: RunningServer, upstream: Kamailio) -> None:
    with Phone(relay.udp, f"sip:{CHALLENGED}@{DOMAIN}") as phone:
        assert phone.register(password=PASSWORD).status == 200
        assert phone.contact in upstream.contacts(CHALLENGED)


def test_an_upstream_that_is_silent_is_a_timeout(relay: RunningServer) -> None:
    with Phone(relay.udp, f"sip:{SILENT}@{DOMAIN}") as phone:
        octets = phone.compose(
            "REGISTER", f"sip:{DOMAIN}", [f"Contact: <{phone.contact}>"], to=f"<sip:{SILENT}@{DOMAIN}>"
        )
        phone.send(octets)
        assert phone.receive(lambda found: found.status == 100).status == 100


def test_a_request_for_a_pause_holds_for_every_phone(upstream: Kamailio, tmp_path: Path, aor: str) -> None:
    with (
        server_at(
            own_address(),
            tmp_path / "reginfo",
            f'[registrar]\nmode = "relay"\nupstream = "{upstream.uri()}"\n',
        ) as relay,
        Phone(relay.udp, f"sip:{BUSY}@{DOMAIN}") as busy,
        Phone(relay.udp, aor) as phone,
    ):
        answer = busy.register()
        assert answer.status == 503
        assert answer.header("retry-after") == str(RETRY_AFTER)
        answer = phone.register()
        assert answer.status == 503
        assert 0 < int(answer.header("retry-after") or 0) <= RETRY_AFTER


def test_what_the_relay_lets_through_is_followed(kamailio: Path, tmp_path: Path, aor: str) -> None:
    """The predecessor's own example: its registrar upstream publishes to its presence server, where the relay asks."""
    for name in ("presence", "upstream"):
        (tmp_path / name).mkdir()
    with (
        presence_server(tmp_path / "presence") as presence,
        registrar(tmp_path / "upstream", presence.address) as upstream,
        server_at(
            own_address(),
            tmp_path / "reginfo",
            f'[registrar]\nmode = "relay"\nupstream = "{upstream.uri()}"\n'
            f'[pua_reginfo]\nsubscribe_on_register = true\noutbound_proxy = "{presence.uri()}"\n'
            "publish_reginfo = false\n",
        ) as relay,
        Phone(relay.udp, aor) as phone,
    ):
        assert phone.register(headers=["Supported: path"]).status == 200
        known = eventually(lambda: contacts(relay, aor).get(phone.contact))
        assert known["Origin"] == "peer:{}:{}".format(*presence.address)
        assert phone.unregister().status == 200
        eventually(lambda: not contacts(relay, aor))
