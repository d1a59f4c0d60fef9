"""Replays of an authenticated REGISTER at a real server: whoever has read one can do nothing with it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reginfo.admin.control import ControlClient
from reginfo.fast import SipMessage, parse_message
from tests.harness import contact, request
from tests.reference import digest as reference
from tests.server_fixture import RunningServer, TcpPeer, UdpPeer, running_server

pytestmark = pytest.mark.network

REALM = "example.com"
PASSWORD = "s3cret"
AUTH = '[auth]\nenabled = true\nalgorithms = ["MD5"]\n'
OPTIONS = f'store = {{ url = "memory:" }}\n{AUTH}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that knows alice and bob."""
    folder = tmp_path_factory.mktemp("replays")
    (folder / "users.toml").write_text(AUTH)
    rows = [f"{name};[authentication username={name} password={PASSWORD}]" for name in ("alice", "bob")]
    (folder / "users.csv").write_text("\n".join(["SEQUENTIAL", *rows]) + "\n")
    command = [sys.executable, "-m", "reginfo", "user", "import", "-c", "users.toml", "users.csv"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    with running_server(folder, [REALM], OPTIONS) as running:
        yield running


def ask(peer: UdpPeer | TcpPeer, octets: bytes) -> SipMessage:
    peer.send(octets)
    return parse_message(peer.receive())


class Phone:
    """A phone with a password; each REGISTER of all of them has a Call-ID and a branch of its own."""

    def __init__(self, peer: UdpPeer | TcpPeer, name: str = "alice") -> None:
        self.peer = peer
        self.name = name
        answer = ask(peer, self.octets())
        assert answer.status == 401
        self.nonce = answer.www_authenticate[0].params["nonce"]

    def octets(self, *rows: str, user: str = "", branch: str = "z9hG4bK-first", cseq: int = 1) -> bytes:
        host = self.peer.via.partition(" ")[2]
        sent = request(
            "REGISTER",
            contact(f"sip:{self.name}@192.0.2.10"),
            *rows,
            user=user or self.name,
            call_id=f"{self.name}-{id(self):x}",
            cseq=cseq,
            branch=branch,
            via=f"{host};rport",
        )
        return sent if isinstance(self.peer, UdpPeer) else sent.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP")

    def register(self, *, user: str = "", nonce: str = "", nc: int = 1, branch: str = "z9hG4bK-second") -> bytes:
        """Write a REGISTER with credentials that fit."""
        uri, nonce, count = f"sip:{REALM}", nonce or self.nonce, f"{nc:08x}"
        proof = reference.response("MD5", self.name, REALM, PASSWORD, "REGISTER", uri, nonce, "auth", count, "c1")
        row = (
            f'Authorization: Digest username="{self.name}",realm="{REALM}",nonce="{nonce}",uri="{uri}",'
            f'response="{proof}",algorithm=MD5,qop=auth,nc={count},cnonce="c1"'
        )
        return self.octets(row, user=user, branch=branch, cseq=1 + nc)


def bound(server: RunningServer) -> int:
    with ControlClient(str(server.folder / "reginfo.sock")) as client:
        return int(client.call("stats.get_statistics", ["usrloc:contacts"])["usrloc"]["contacts"])


def test_a_retransmission_gets_the_same_200_and_a_replay_never_one(server: RunningServer) -> None:
    """AUT-6, SEC-2, TX-3: the same octets from the same source; then another source, another branch, a stream."""
    with UdpPeer(server) as peer, UdpPeer(server) as stranger, TcpPeer(server) as stream:
        octets = Phone(peer).register()
        first = ask(peer, octets)
        assert first.status == 200
        for _ in range(3):
            again = ask(peer, octets)
            assert again.octets == first.octets
        elsewhere = octets.replace(peer.via.encode(), stranger.via.encode())
        branch = octets.replace(b"z9hG4bK-second", b"z9hG4bK-third")
        streamed = octets.replace(peer.via.encode(), stream.via.encode())
        copies: list[tuple[UdpPeer | TcpPeer, bytes]] = [
            (stranger, octets),
            (stranger, elsewhere),
            (peer, branch),
            (stream, streamed),
        ]
        for asker, copy in copies:
            answer = ask(asker, copy)
            assert answer.status == 401
            assert answer.www_authenticate[0].params["stale"] == "true"


def test_a_retransmission_after_others_were_refused_is_still_answered(server: RunningServer) -> None:
    """AUT-6, TX-3: a stranger who replays takes nothing from the phone."""
    with UdpPeer(server) as peer, UdpPeer(server) as stranger:
        phone = Phone(peer, "bob")
        octets = phone.register()
        first = ask(peer, octets)
        assert first.status == 200
        assert ask(stranger, octets).status == 401
        assert ask(peer, octets).octets == first.octets
        assert ask(peer, phone.register(nc=2, branch="z9hG4bK-next")).status == 200


def test_nobody_registers_with_credentials_of_somebody_else(server: RunningServer) -> None:
    """AUT-7, SEC-2: right credentials for another address-of-record."""
    with UdpPeer(server) as peer:
        phone = Phone(peer)
        before = bound(server)
        assert ask(peer, phone.register(user="bob")).status == 403
        assert ask(peer, phone.register(user="olive", nc=2, branch="z9hG4bK-other")).status == 403
        assert bound(server) == before


def test_a_nonce_of_another_server_is_good_for_nothing(server: RunningServer, tmp_path: Path) -> None:
    """AUT-6: also one with the same realm and users, which is the same server before a restart."""
    (tmp_path / "subscriber.db").write_bytes((server.folder / "subscriber.db").read_bytes())
    with running_server(tmp_path, [REALM], OPTIONS) as other, UdpPeer(other) as there, UdpPeer(server) as here:
        phone, foreign = Phone(here), Phone(there).nonce
        answer = ask(here, phone.register(nonce=foreign))
        assert answer.status == 401
        assert ask(there, Phone(there).register(branch="z9hG4bK-own")).status == 200
        for made_up in ("A" * 32, foreign[:-1] + "!", "x"):
            assert (
                ask(here, phone.register(nonce=made_up, branch=f"z9hG4bK-{len(made_up)}{made_up[-1:]}")).status == 401
            )
