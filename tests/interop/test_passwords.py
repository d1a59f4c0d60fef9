"""The real Kamailio asks ours for a password, with its auth module: AUT-11."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reginfo.admin.control import ControlClient
from tests.interop.kamailio import (
    CHALLENGED,
    DOMAIN,
    PASSWORD,
    Kamailio,
    PresenceServer,
    eventually,
    presence_server,
    upstream_registrar,
)
from tests.interop.peer import Phone
from tests.server_fixture import RunningServer, running_server

pytestmark = pytest.mark.network

# A proxy would ask a publisher, the server itself asks a watcher.
GUARD = f"""
	if (is_method("PUBLISH") && !pv_proxy_authenticate("{DOMAIN}", "{PASSWORD}", "0")) {{
		proxy_challenge("{DOMAIN}", "1");
		exit;
	}}
	if (is_method("SUBSCRIBE") && !pv_www_authenticate("{DOMAIN}", "{PASSWORD}", "0")) {{
		www_challenge("{DOMAIN}", "1");
		exit;
	}}
"""
NONCES = {
    "good for a while": "",
    "good once": 'modparam("auth", "one_time_nonce", 1)\n',
    "counted": 'modparam("auth", "nonce_count", 1)\n',
}


@pytest.fixture(scope="module", params=NONCES)
def presence(
    kamailio: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[PresenceServer]:
    """A presence server that asks everybody."""
    options = f'loadmodule "auth.so"\n{NONCES[request.param]}'
    with presence_server(tmp_path_factory.mktemp("asking"), options=options, guard=GUARD) as server:
        yield server


@pytest.fixture(scope="module")
def upstream(kamailio: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kamailio]:
    with upstream_registrar(tmp_path_factory.mktemp("upstream")) as server:
        yield server


def reginfo(*arguments: str, password: str = PASSWORD) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "reginfo", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "REGINFO_PASSWORD": password},
    )


def test_a_phone_of_the_command_line_registers_there(upstream: Kamailio) -> None:
    """AUT-11: MD5 with qop auth, as its module asks for it."""
    options = ("--server", upstream.uri(), "--user", CHALLENGED)
    aor = f"{CHALLENGED}@{DOMAIN}"
    done = reginfo("register", aor, "sip:phone@192.0.2.1", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sip:phone@192.0.2.1" in upstream.contacts(CHALLENGED)
    done = reginfo("register", aor, "sip:phone@192.0.2.2", *options, password="wrong")
    assert (done.returncode, done.stdout) == (77, "")
    assert "does not take the password of challenged" in done.stderr


def test_the_command_line_watches_and_publishes_there(presence: PresenceServer, aor: str, tmp_path: Path) -> None:
    """AUT-11: 401 to a SUBSCRIBE, 407 to a PUBLISH."""
    file = tmp_path / "state.xml"
    file.write_text(
        '<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">'
        f'<registration aor="{aor}" id="r" state="active"><contact id="c" state="active" event="registered">'
        "<uri>sip:phone@192.0.2.1</uri></contact></registration></reginfo>"
    )
    options = ("--server", presence.uri(), "--user", "east", "--json")
    published = reginfo("publish", aor, str(file), *options)
    assert (published.returncode, published.stderr) == (0, "")
    assert json.loads(published.stdout)["etag"]
    watched = reginfo("watch", aor, "--once", *options)
    assert (watched.returncode, watched.stderr) == (0, "")
    assert [one["uri"] for one in json.loads(watched.stdout)["contacts"]] == ["sip:phone@192.0.2.1"]


@pytest.fixture
def ours(presence: PresenceServer, tmp_path: Path, aor: str) -> Iterator[RunningServer]:
    """Our server: it publishes there what is registered here, and follows one address-of-record there."""
    folder = tmp_path / "reginfo"
    folder.mkdir()
    (folder / "password").write_text(f"{PASSWORD}\n")
    options = (
        f'store = {{ url = "memory:" }}\n[pua_reginfo]\noutbound_proxy = "{presence.uri()}"\nsubscribe = ["{aor}"]\n'
        f'[[peer]]\nname = "kam"\nuri = "{presence.uri()}"\nprofile = "kamailio"\n'
        'username = "east"\npassword_file = "password"\n'
    )
    with running_server(folder, [DOMAIN], options) as server:
        yield server


def test_our_server_publishes_and_follows_there(presence: PresenceServer, ours: RunningServer, aor: str) -> None:
    """AUT-11: every change, whatever its nonces are good for; what it follows becomes active."""
    with Phone(ours.udp, aor.replace("sip:", "sip:phone-")) as phone:
        for _ in range(3):
            assert phone.register().status == 200
        user = aor.replace("sip:", "phone-").partition("@")[0]
        eventually(lambda: user in {one.user for one in presence.presentities()}, "a publication")
        assert phone.unregister().status == 200

    def states() -> list[str]:
        with ControlClient(str(ours.folder / "reginfo.sock")) as client:
            found = client.call("reg.subscriptions", [])["subscriptions"]
            totals = client.call("stats.get_statistics", ["publications:"])
        assert totals["publications"]["publisher"] == 1
        return [one["state"] for one in found]

    eventually(lambda: states() == ["active"], "an active subscription")
    assert "refused" not in ours.log.read_text()
