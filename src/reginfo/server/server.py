"""The process around the engine: event loop, clock, sockets, store, signals.

One loop turn's input from all sockets is one batch.  The engine decides; this module awaits the store and
moves octets.
"""

import asyncio
import logging
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TypeVar

from reginfo.admin.contact_counts import ContactCounts
from reginfo.admin.event_log import LogConsumer
from reginfo.config import Config, Listener
from reginfo.engine import MAX_PENDING, Engine, Hook
from reginfo.engine.roles import FOLLOWED_EXPIRES
from reginfo.errors import StoreUnavailable
from reginfo.fast import (
    Draft,
    Flow,
    SipMessage,
    SipParseError,
    Transactions,
)
from reginfo.model import ACCEPTED, Command
from reginfo.net.trace import Traces
from reginfo.server.accounts import open_accounts
from reginfo.server.administration import Administration
from reginfo.server.figures import Figures
from reginfo.server.lag import LoopLag
from reginfo.server.leaving import leave
from reginfo.server.listener import ChangeListener, FeedListener, OnChange
from reginfo.server.location import LocationService
from reginfo.server.locator import Locator
from reginfo.server.sockets import Sockets
from reginfo.server.tasks import ended
from reginfo.server.telling import Telling
from reginfo.server.tracing import open_traces
from reginfo.server.turns import CONFLICT_RETRY_AFTER, run_turn
from reginfo.server.users import open_users
from reginfo.server.webhooks import hold_feed, open_secrets
from reginfo.sip.client import WORK
from reginfo.sip.gruu import KEYS, Gruus
from reginfo.sip.routing import Hop
from reginfo.store.base import Durability
from reginfo.store.clock import Clock
from reginfo.store.keys import GRUU_KEYS, kept_secret
from reginfo.store.levels import open_store
from reginfo.store.measured import MeasuredRecords
from reginfo.store.reader import FeedReader

logger = logging.getLogger(__name__)

DRAIN_RETRY_AFTER = 10  # seconds a client waits while this server leaves
TICK = 0.1  # seconds: expiry and 100 Trying are exact to this
SHORT_TICK = 0.005  # seconds, while a mass of expiries or changes is worked off
SAVE_MS = 1_000
EXPIRIES_PER_TICK = 100  # two milliseconds of work or three: a mass expiry does not stall the loop
EXPIRIES_WHILE_BUSY = 50  # about a millisecond: phones hardly feel it
WORK_WHILE_BUSY = 16  # own requests begun at once while phones wait: half a millisecond, and as much for the answers
LOOK = 0.025  # seconds between two looks how late the loop is
FINISH_SECONDS = 2.0  # for each consumer to read what it has not, when the server closes

T = TypeVar("T")


def _taker(done: asyncio.Future[T]) -> Callable[[T], None]:
    """Return what takes a result for whoever waits, and for nobody once they have been cancelled."""

    def take(result: T) -> None:
        if not done.done():
            done.set_result(result)

    return take


class Server:
    """A registrar on its sockets: `await run()` serves until `stop()` or a signal."""

    def __init__(self, config: Config, *, on_request: Hook | None = None) -> None:
        """on_request(request, flow) is asked about every request; None lets it pass, an Outcome is its answer."""
        self.config = config
        self._on_request = on_request
        self._wanted_listeners: list[tuple[OnChange, str | None]] = []
        self._listeners: list[FeedListener] = []
        self.listeners: tuple[Listener, ...] = ()
        "What is bound, with the ports the system chose."
        self.figures: Figures
        "Everything that is counted; there once started."
        self.location: LocationService
        "Look-ups and changes by hand; there once started."
        self.traces: Traces
        "Copies of messages for who wants to look at them; there once started."
        self._stopping = asyncio.Event()
        self._open = AsyncExitStack()
        self._turn_scheduled = False
        self._turns: set[asyncio.Task[None]] = set()
        self._lag = LoopLag()

    # -- life -------------------------------------------------------------------------------------------

    async def run(self, ready: Callable[[], None] = lambda: None, leaving: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGTERM, SIGINT or stop(), then drain.

        ready is called once everything listens, leaving before the drain.  Raises StoreRefused and OSError (a bind)
        before anything is served.
        """
        try:
            await self.start()
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, self.stop)
            ready()
            await self._stopping.wait()
            leaving()
        finally:
            await self.close()

    def stop(self) -> None:
        """Ask run() to drain and return."""
        self._stopping.set()

    async def drain(self, final: bool) -> None:
        """Ask run() to drain and return; with final, end subscriptions and publications first, for good."""
        if final and not self._stopping.is_set():
            self._engine.drain(DRAIN_RETRY_AFTER)
            await leave(self._engine.roles, self._store, self._clock.now, self._schedule)
        self._loop.call_soon(self.stop)  # whoever asked is answered first

    def reload(self, config: Config) -> None:
        """Follow another configuration as far as that is possible while serving.

        Domains, what is granted, the limits of a message, the Server header and what new connections are shown move,
        users and the passwords at peers are read again, and certificates as soon as they can be used; addresses, store,
        user table, realm, control socket and the limits of connections need a restart.  Webhooks come, go
        and change.  ConfigError if a password or secret cannot be read: nothing moves then.
        """
        accounts, hook_secrets = open_accounts(config), open_secrets(config)
        self._engine.authorizations.follow(accounts)
        self._sockets.follow(config)
        self._administration.follow(config, hook_secrets)
        self._engine.follow(self._users.kept(config), self._clock.now())
        self.figures.follow(config)
        self._schedule()

    async def start(self) -> None:
        """Open the store and the sockets; close() is owed also if this raises."""
        config = self.config
        self._loop = asyncio.get_running_loop()
        # A certificate or a secret that cannot be used is found before anything is open.
        hook_secrets = open_secrets(config)
        self._locator = Locator({listener.transport for listener in config.listeners} - {"ws", "wss"})
        self.traces = open_traces(self._loop, config.trace)
        self._open.callback(self.traces.close)
        self._sockets = Sockets(
            self._loop, config, self._locator, self.traces, self._on_batch, self._on_error, self._on_lost, self._on_bad
        )
        self._store = open_store(
            Durability(config.store.durability), config.store.folder or Path(), time.time_ns() // 1_000_000
        )
        self._open.push_async_callback(self._store.close)
        await hold_feed(self._store, config)
        self._records = MeasuredRecords(self._store)
        self._clock = Clock(self._store.clock_offset)
        gruus = Gruus(await kept_secret(self._store, GRUU_KEYS, KEYS), self._store.find_gruu)
        self._engine = Engine(config, Transactions(secrets.token_bytes(16)), secrets.token_bytes(32), gruus)
        self._engine.hook = self._on_request
        self._engine.roles.identities = self._sockets.identities
        self._engine.authorizations.follow(open_accounts(config))
        self._users = await open_users(config.auth, self._engine, self._clock.now, self._schedule, self._open)
        self._telling = Telling(self._engine.roles, self._store, self._clock.now)
        self.location = LocationService(self._store, self._command, gruus, self._engine.home)
        contacts = ContactCounts()
        self._readers = {one.name: FeedReader(self._store, one) for one in (contacts, LogConsumer())}
        for reader in self._readers.values():
            await reader.attach()
        await self._telling.attach()
        self.figures = Figures(
            config,
            self._engine,
            self._store,
            self._records,
            self._clock,
            self._sockets,
            self._lag,
            contacts,
            {**self._readers, "roles": self._telling},
            lambda: self._administration.webhooks.statistics(),
            self.traces,
        )
        self._open.push_async_callback(self._finish)
        self._engine.flows.adopt(await self._store.flows())
        while self._engine.has_works:  # before a connection can have the number that one of the last run had
            await run_turn(self._engine, self._records, self._clock.now)
        self._open.push_async_callback(self._sockets.close)
        await self._sockets.start()
        self.listeners = self._sockets.listeners
        self._open.push_async_callback(self._drain)  # what operators ask for until they are hung up on
        self._engine.bind(self.listeners, self._clock.now())
        self._schedule()  # what the last run left untold
        self._administration = Administration(self, self._engine.roles, self._store, self._clock)
        self._open.push_async_callback(self._administration.close)
        await self._administration.start(hook_secrets)
        self._open.push_async_callback(self._drain)  # while whoever asks is told that this server is not ready
        for work in (self._tick(), self._feed(), self._watch()):
            task = asyncio.create_task(work)
            self._open.callback(task.cancel)
        for callback, name in self._wanted_listeners:
            self._listen_to_changes(callback, name)

    async def close(self) -> None:
        """Drain: refuse what is new, finish what is pending, save the cursors, let go of everything."""
        await self._open.aclose()

    @property
    def dashboard(self) -> str:
        """Address of the page that shows the server, with the token in it; empty if there is none."""
        return self._administration.dashboard

    @property
    def is_busy(self) -> bool:
        """Whether datagrams come so thick and fast that others had better wait."""
        return self._sockets.is_busy

    # -- what embedding programs do -----------------------------------------------------------------------

    def on_change(self, callback: OnChange, *, name: str | None = None) -> None:
        """Have every change committed from now on handed to callback, in order, one after the other.

        Nobody waits for it.  With a name it is durable: after a restart the callback gets what it had not returned
        from, at least once.  An exception is logged, and what it was about is not told again.
        """
        self._wanted_listeners.append((callback, name))
        if hasattr(self, "_store"):
            self._listen_to_changes(callback, name)

    def _listen_to_changes(self, callback: OnChange, name: str | None) -> None:
        self._open.push_async_callback(self.listen(ChangeListener(self._store, callback, name)))

    def listen(self, listener: FeedListener) -> Callable[[], Awaitable[None]]:
        """Have a listener follow the feed until what is returned is called."""
        self._listeners.append(listener)
        task = self._loop.create_task(listener.run())

        async def end() -> None:
            self._listeners.remove(listener)
            await ended(task)

        return end

    async def reginfo_subscribe(self, uri: str, expires: int = FOLLOWED_EXPIRES) -> int:
        """Follow the registration of a SIP URI at another server; return at how many servers it is followed.

        An address-of-record without a domain is one of pua_reginfo.default_domain.  What is learned is in the location
        service under the origin of that server; it is followed again after a restart.  ValueError for no SIP URI.
        """
        found = self._engine.roles.subscriber.follow(self._with_domain(uri), expires, self._clock.now())
        self._schedule()
        return len(found)

    async def reginfo_unsubscribe(self, uri: str) -> int:
        """Follow the registration of a SIP URI no longer; return at how many servers it was."""
        ended = self._engine.roles.subscriber.unfollow(self._with_domain(uri), self._clock.now())
        self._schedule()
        return ended

    def _with_domain(self, uri: str) -> str:
        scheme, _, rest = uri.partition(":")
        if scheme.lower() not in ("sip", "sips"):
            if ":" in uri.partition("@")[0]:
                raise ValueError(f"{uri!r} is no SIP URI")
            scheme, rest = "sip", uri
        return f"{scheme}:{rest}" if "@" in rest else f"{scheme}:{rest}@{self.config.default_domain}"

    def followed(self) -> list[tuple[str, str, str, int]]:
        """Return (AoR, where, state, contacts known) of every subscription at another server."""
        return [
            (one.aor, str(one.hop), one.state.value, sum(len(known.contacts) for known in one.view.registrations))
            for one in self._engine.roles.subscriber
        ]

    async def reginfo_handle_notify(self, request: SipMessage, flow: Flow) -> int:
        """Apply a NOTIFY that on_request has kept (KEEP), and answer it; return what came of it.

        2: applied, and no contact of its AoR is bound now; 1: applied, and at least one is; -1: not applied, because it
        belongs to no subscription, cannot be read, or cannot be stored.
        """
        done: asyncio.Future[int] = self._loop.create_future()
        self._engine.handle_notify(request, flow, self._clock.now(), _taker(done))
        self._schedule()
        return await done

    def reginfo_disable_publish(self) -> None:
        """Let nothing be published of what the request that on_request is being asked about changes."""
        self._engine.mute()

    async def _finish(self) -> None:
        for reader in self._readers.values():
            await reader.pump(FINISH_SECONDS)
            await reader.save()
        await self._telling.keep_state()
        while await self._telling.save():
            pass

    async def _drain(self) -> None:
        self._engine.drain(DRAIN_RETRY_AFTER)
        while self._turns or self._engine.has_works:
            await (asyncio.wait(self._turns) if self._turns else asyncio.sleep(0))

    # -- input ------------------------------------------------------------------------------------------

    def _on_batch(self, batch: list[tuple[bytes, Flow]]) -> None:
        if self.traces.is_on:
            self.traces.received(batch)
        self._engine.receive(batch, self._clock.now())
        self._schedule()

    def _on_bad(self, error: SipParseError, flow: Flow) -> bytes | None:
        answer = self._engine.answer_unframed(error, error.head, flow, self._clock.now())
        if self.traces.is_on:
            self.traces.received([(error.head, flow)])
            if answer:
                self.traces.sent([(answer, flow)])
        return answer

    def _on_error(self, flow: Flow) -> None:
        logger.debug("transport error flow=%s", flow.text)
        self._engine.lost(flow, self._clock.now())
        self._schedule()

    def _on_lost(self, flow: Flow) -> None:
        logger.debug("connection lost flow=%s", flow.text)
        self._engine.lost(flow, self._clock.now())
        self._schedule()

    # -- turns ------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Let one turn follow all input of this loop turn."""
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._loop.call_soon(self._start_turn)

    def _start_turn(self) -> None:
        self._turn_scheduled = False
        self._users.look_up()
        if self._engine.has_works or self._engine.has_work:
            task = self._loop.create_task(self._run_turn())
            self._turns.add(task)
            task.add_done_callback(self._turns.discard)
        else:
            self._send()

    async def _run_turn(self) -> None:
        limit = WORK
        if self._engine.has_works:
            works = await run_turn(self._engine, self._records, self._clock.now)
            self._send()  # the answers first: a slow watcher never delays a phone
            self._engine.counts.measure(works, self._clock.now())
            if self.is_busy:
                limit = WORK_WHILE_BUSY
        if self._engine.is_alone and not self._listeners:
            self._telling.pass_over()
        else:
            await self._tell(limit)
        if self._engine.has_works or self._engine.has_work:
            self._schedule()

    async def _tell(self, limit: int) -> None:
        """Let the roles see what was committed, and send what they have to say about it, limit requests at most."""
        if self._telling.lag:
            for listener in self._listeners:
                listener.wake()
        await self._telling.read()
        await self._telling.recall()
        self._engine.work(self._clock.now(), limit)
        await self._telling.keep_state()
        self._send()
        for hop in self._engine.take_lookups():
            task = self._loop.create_task(self._locate(hop))
            self._turns.add(task)
            task.add_done_callback(self._turns.discard)

    async def _locate(self, hop: Hop) -> None:
        targets = await self._locator.locate(hop)
        self._engine.located(hop, targets, self._clock.now())
        self._schedule()

    def _send(self) -> None:
        """Send what the engine has to say, each message through the socket its flow belongs to."""
        output = self._engine.take_output()
        if not output:
            return
        for flow, seconds, is_exact in self._engine.flows.take_granted():
            self._sockets.grant(flow, seconds, is_exact)
        self._sockets.send(output)

    # -- time -------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        """Expire and say 100 Trying; once a second save cursors and watch the clock."""
        saved_ms = 0
        more = unsaved = False
        while True:
            await asyncio.sleep(SHORT_TICK if more or unsaved else TICK)
            now = self._clock.now()
            self._lag.tick(now.ms)
            save_told, more, unsaved = unsaved, False, False
            try:
                more = await self._expire(now.ms)
                self._engine.tick(now)
                self._schedule()
                if now.ms - saved_ms >= SAVE_MS:
                    saved_ms, save_told = now.ms, True
                    await self._save()
                if save_told:
                    unsaved = await self._telling.save()
            except Exception:  # what failed now is tried again; a ticker that ended would end all expiry
                logger.exception("tick failed")

    async def _expire(self, now_ms: int) -> bool:
        """Queue what has expired, a mass of it in pieces; True if more waits."""
        if self._engine.pending >= MAX_PENDING // 2:
            return False  # changes take their time, and what is due comes again
        first = self._store.next_due_ms()
        if first is None or first > now_ms:
            return False
        limit = EXPIRIES_WHILE_BUSY if self.is_busy else EXPIRIES_PER_TICK
        self._engine.expire(await self._store.due(now_ms, limit))
        return True

    async def _save(self) -> None:
        """Save the cursors of readers, and the distance of the clocks if that has changed."""
        for reader in self._readers.values():
            await reader.save()
        if self._clock.stepped():
            logger.warning("wall clock was set offset_ms=%d", self._clock.offset_ms)
        if self._clock.offset_ms != self._store.clock_offset:
            with suppress(StoreUnavailable):  # asked again in a second
                await self._store.save_clock_offset(self._clock.offset_ms)

    async def _watch(self) -> None:
        """Note how late the loop comes to what is due."""
        while True:
            due = time.monotonic() + LOOK  # the clock of the loop counts in milliseconds
            await asyncio.sleep(LOOK)
            self._lag.note(max(0, round(1_000_000 * (time.monotonic() - due))), self._clock.now().ms)

    async def _feed(self) -> None:
        """Take the consumers along, for a moment at a time."""
        while True:
            behind = any(reader.lag for reader in self._readers.values())
            await asyncio.sleep(SHORT_TICK if behind else TICK)
            for reader in self._readers.values():
                try:
                    await reader.pump()
                    await asyncio.sleep(0)
                except Exception:  # one consumer's fault is not the others'
                    logger.exception("feed reader failed")

    # -- what operators do ------------------------------------------------------------------------------

    async def _command(self, aor: str, apply: Callable[[Draft, int], int], cause: str) -> int:
        """Put a change through the same queue as every REGISTER; raises StoreUnavailable."""
        done: asyncio.Future[Command] = self._loop.create_future()
        self._engine.command(Command(aor, apply, cause, _taker(done)))
        self._schedule()
        command = await done
        if command.error is not None:
            raise command.error
        if command.outcome is not ACCEPTED:
            raise StoreUnavailable("the store takes no changes now", retry_after=CONFLICT_RETRY_AFTER)
        return command.result

    def statistics(self) -> dict[str, dict[str, int]]:
        """Return every counter, by group."""
        return {**self.figures.statistics(), "event_stream": self._administration.stream.statistics()}
