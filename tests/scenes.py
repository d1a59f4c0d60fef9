"""Scenes that tests of several roles share: addresses, phones, and who stands where."""

from collections.abc import Sequence

from reginfo.fast import SipMessage
from tests.harness import House
from tests.network import Network, Peer, Watcher

SERVER = ("127.0.0.1", 5060)
OTHER = ("127.0.0.2", 5060)
WATCHER = ("192.0.2.50", 5060)
PHONE = ("192.0.2.10", 5060)

ALICE = "sip:alice@example.com"
A = "sip:alice@192.0.2.10:5060"
B = "sip:alice@192.0.2.11:5060"


class Phone(Peer):
    """Registers at a server."""

    def __init__(self, server: tuple[str, int] = SERVER, local: tuple[str, int] = PHONE, aor: str = ALICE) -> None:
        super().__init__(local)
        self.server = server
        self.aor = aor
        self.cseq = 0
        self.call_id = f"phone-{local[0]}-{local[1]}"

    def register(self, *rows: str, expires: int | None = None, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Send a REGISTER; rows are Contact values without <>: `A;expires=0`."""
        self.cseq += 1
        contacts = [("Contact", f"<{row.partition(';')[0]}>{''.join(row.partition(';')[1:])}") for row in rows]
        if rows == ("*",):
            contacts = [("Contact", "*")]
        self.request(
            self.server,
            "REGISTER",
            "sip:" + self.aor.rpartition("@")[2],
            *contacts,
            *([("Expires", str(expires))] if expires is not None else []),
            *headers,
            from_=f"<{self.aor}>;tag=p",
            to=f"<{self.aor}>",
            call_id=self.call_id,
            cseq=self.cseq,
        )

    @property
    def last(self) -> SipMessage:
        """The last answer."""
        return next(one for one in reversed(self.received) if not one.is_request)


def watch(
    net: Network, server: House, aor: str = ALICE, local: tuple[str, int] = WATCHER, expires: int = 3600
) -> Watcher:
    """Put a watcher of an AoR on the network, subscribed."""
    watcher = Watcher(local, server.local, aor)
    net.add(watcher)
    watcher.subscribe(expires)
    net.run(0.1)
    return watcher
