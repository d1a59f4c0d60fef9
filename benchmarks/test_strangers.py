"""What measures authentication and floods checks every answer."""

from benchmarks.authentication import NAMES, authenticating, exchange, nonces, user_table
from benchmarks.sipp_table import PASSWORD
from benchmarks.strangers import open_connections, open_files, pour
from reginfo.fast import RegisterLoad


def test_phones_and_strangers_are_told_apart() -> None:
    """SEC-3, AUT-6: exchanges and reused nonces end in 200; a flood in small answers that come once."""
    with user_table() as users, authenticating(users) as server:
        exchange(server.udp, NAMES[:200])
        held = nonces(server.udp, NAMES[:100])
        report = RegisterLoad(*server.udp, aors=100, seed=3, nonces=held, password=PASSWORD).run(1_000)
        assert (report.answered, report.failed, report.lost) == (1_000, 0, 0)
        pour(server.udp, 0.2)


def test_slow_clients_stay_within_what_an_address_may_have() -> None:
    """SEC-5: none of them is refused."""
    with user_table() as users, authenticating(users) as server:
        files = open_files(server)
        with open_connections(server.tcp, 130) as clients:
            for client in clients:
                client.send(b"REGISTER")
            exchange(server.udp, NAMES[:10])
            assert open_files(server) - files == 130
