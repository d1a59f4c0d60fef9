"""Those who look at a server, all at once: each of them gets what it asked for."""

from benchmarks.administration import Watchers
from benchmarks.events import own
from reginfo.fast import RegisterLoad
from tests.server_fixture import free_port

AORS = 300


def test_a_scrape_a_dump_and_a_hundred_listeners_are_served_together() -> None:
    address = f"127.0.0.1:{free_port('127.0.0.1')}"
    with own(f'[admin]\nlisten = "{address}"\n') as (server, _):
        assert RegisterLoad(*server.udp, aors=AORS, seed=1).run(AORS).answered == AORS
        Watchers(server, address).look(AORS)
