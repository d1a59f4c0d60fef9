"""What others must not feel: a dump of everything, a change that a crowd watches, a mass expiry, an outage, strangers.

python -m benchmarks.disturbances [--pairs 5] [--only NAME]
"""

import math
import multiprocessing
import secrets
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

import click

from benchmarks.administration import administration
from benchmarks.events import LIMITS, World, aor_of, own, register, subscribe
from benchmarks.latency import PATIENCE, Bystanders, Disturbance, Felt, disturbed, meanwhile, on_own_core
from benchmarks.promises import felt_lines, markdown
from benchmarks.strangers import flood, slow
from reginfo.admin.control import ControlClient
from reginfo.fast import RegisterLoad, parse_message, write_response
from tests.interop.kamailio import DOMAIN
from tests.server_fixture import RunningServer, loopback_address

AORS = 10_000  # of those who are not concerned
PAGE = 1_000
LOOK_SECONDS = 0.1


def control(server: RunningServer) -> ControlClient:
    return ControlClient(str(server.folder / "reginfo.sock"))


# --- a dump


def dump(pairs: int, bindings: int = 1_000_000) -> Felt:
    """Read the whole table through the control socket."""
    with on_own_core(own("")) as (server, _):
        others = Bystanders.at(server, bindings)

        def read() -> None:
            found = cursor = 0
            with control(server) as client:
                while cursor is not None:
                    page = client.call("ul.dump", {"cursor": cursor, "limit": PAGE})
                    found, cursor = found + len(page["AoRs"]), page["Cursor"]
            assert found == bindings, found

        return disturbed(
            server, others, Disturbance(f"dump of {bindings:,} bindings", 1.5, lambda: meanwhile(read)), pairs
        )


# --- a crowd of watchers


def crowd(pairs: int, watchers: int = 100_000) -> Felt:
    """Change the one AoR that all of them watch."""
    limits = "".join(f"{name} = {watchers}\n" for name in LIMITS)
    options = f"[notifier]\nmin_notify_interval = 0\n{limits}"
    with World() as world, on_own_core(own(options)) as (server, _):
        watched = aor_of(0)
        register(world, server.udp, watched, 1)
        for user in range(watchers):
            subscribe(world, server.udp, user, watched)
        world.idle()
        world.until(lambda: world.taken == watchers)
        others = Bystanders.at(server, AORS)
        cseqs = iter(range(2, 1_000))

        @contextmanager
        def change() -> Iterator[Callable[[], bool]]:
            world.taken = 0
            cseq = next(cseqs)

            def tell() -> None:
                register(world, server.udp, watched, cseq)
                world.until(lambda: world.taken >= watchers)
                world.idle()

            world.skip(1)  # what the other process numbers
            with meanwhile(tell) as lasts:
                yield lasts

        return disturbed(server, others, Disturbance(f"change that {watchers:,} watch", 2.0, change), pairs)


# --- a mass expiry


def expiry(pairs: int, bindings: int = 100_000, parts: int = 10) -> Felt:
    """Let bindings end that all last until the same second."""
    domains = [DOMAIN, *(f"d{part}.{DOMAIN}" for part in range(parts))]
    options = "[registrar]\nmin_expires = 1\nexpires_jitter = 0.0\n"
    with on_own_core(own(options, domains)) as (server, _):
        others = Bystanders.at(server, AORS)

        def bound() -> int:
            with control(server) as client:  # one that is held is closed when a pair has to wait for a steady minute
                counted = client.call("stats.get_statistics", ["usrloc:contacts"])["usrloc"]
            return int(counted["contacts"]) - AORS

        @contextmanager
        def expire() -> Iterator[Callable[[], bool]]:
            # Whole seconds from now: each part is registered so that it ends just after the same instant.
            end = time.monotonic() + 8
            for domain in domains[1:]:
                load = RegisterLoad(
                    *server.udp,
                    aors=bindings // parts,
                    seed=secrets.randbits(64),
                    expires=max(1, math.ceil(end - time.monotonic())),
                    domain=domain,
                )
                load.run(bindings // parts)
            assert bound() == bindings, bound()
            time.sleep(max(0.0, end - time.monotonic()))
            yield lambda: bound() > 0
            until(lambda: not bound())

        return disturbed(server, others, Disturbance(f"expiry of {bindings:,} bindings", 2.0, expire), pairs)


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > deadline:
            raise click.ClickException("a disturbance did not come to its end")
        time.sleep(LOOK_SECONDS)


# --- a compositor that is down


class Compositor:
    """Answers every PUBLISH, in a process of its own, unless it is down."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        self.socket.bind((loopback_address(), 0))
        self.down = multiprocessing.Value("b", 0)
        self.taken = multiprocessing.Value("q", 0)
        self.repeated = multiprocessing.Value("q", 0)
        "Retransmissions among what was taken while it was down."
        self.ended = multiprocessing.Value("b", 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.value = 1
        self.socket.close()

    def run(self) -> None:
        seen: set[bytes] = set()
        while not self.ended.value:
            if not select.select([self.socket], [], [], LOOK_SECONDS)[0]:
                continue
            octets, source = self.socket.recvfrom(65_536)
            self.taken.value += 1
            if self.down.value:
                self.repeated.value += octets in seen
                seen.add(octets)
                continue
            seen.clear()
            rows = [("SIP-ETag", f"e{self.taken.value}"), ("Expires", "3600")]
            self.socket.sendto(write_response(parse_message(octets), 200, to_tag="c", headers=rows), source)

    def is_quiet(self) -> bool:
        """Tell whether nothing comes for a second."""
        before = self.taken.value
        time.sleep(1.0)
        return bool(self.taken.value == before)


def outage(pairs: int) -> Felt:
    """Publish to a compositor that has stopped to answer."""
    with ExitStack() as stack:
        compositor = Compositor()
        options = '[pua_reginfo]\noutbound_proxy = "sip:{}:{}"\n'.format(*compositor.socket.getsockname())
        server, _ = stack.enter_context(on_own_core(own(options)))
        stack.enter_context(meanwhile(compositor.run))
        stack.enter_context(compositor)
        others = Bystanders.at(server, AORS)

        @contextmanager
        def silence() -> Iterator[Callable[[], bool]]:
            repeated = compositor.repeated.value
            compositor.down.value = 1
            yield lambda: True
            assert compositor.repeated.value > repeated, "no PUBLISH was repeated"
            compositor.down.value = 0
            until(compositor.is_quiet)

        return disturbed(server, others, Disturbance("compositor down", 2.0, silence), pairs)


WORKS: dict[str, Callable[[int], Felt]] = {
    "dump": dump,
    "crowd": crowd,
    "expiry": expiry,
    "outage": outage,
    "flood": flood,
    "slow": slow,
    "administration": administration,
}


@click.command()
@click.option("--pairs", default=5, show_default=True, type=click.IntRange(1, 20))
@click.option("--only", type=click.Choice(list(WORKS)), multiple=True)
def main(pairs: int, only: tuple[str, ...]) -> None:
    """Measure what others feel, and print a table."""
    felt = [work(pairs) for name, work in WORKS.items() if not only or name in only]
    click.echo(markdown(felt_lines(felt)))


if __name__ == "__main__":
    main()
