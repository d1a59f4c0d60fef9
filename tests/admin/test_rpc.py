"""The methods of control: what they take, what they return, and the words of Kamailio."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from reginfo.admin.control import INVALID_PARAMS, NOT_FOUND, Params, RpcError
from reginfo.admin.inventory import Inventory, PeerView, Publications, Subscriptions
from reginfo.admin.pages import PIECE
from reginfo.admin.rpc import Commands, Rpc
from reginfo.admin.webhooks import Webhook, Webhooks
from reginfo.fast import Binding, Draft, Registration
from reginfo.model import ContactEvent, Now, TracedMessage, TraceStatus

NOW_MS = 1_700_000_000_000
ALICE = "sip:alice@example.com"


class Table:
    """A location table with the commands the engine offers, and a clock that stands still."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.now_ms = NOW_MS
        self.followed: dict[str, int] = {}
        self.ended: list[tuple[ContactEvent, int]] = []
        self.drained: list[bool] = []
        self.flushed = 0
        self.trace: TraceStatus | None = None

    def change(self, aor: str, apply: Callable[[Draft], Any]) -> Any:
        draft = Draft(aor, self.records.get(aor), self.now_ms)
        result = apply(draft)
        change = draft.finish("operator")
        if change is not None and change.record:
            self.records[aor] = change.record
        elif change is not None:
            del self.records[aor]
        return result

    async def lookup(self, aor: str) -> Registration | None:
        return Registration(self.records[aor]) if aor in self.records else None

    async def page(self, cursor: int, n: int) -> tuple[int, list[Registration]]:
        records = list(self.records.values())
        following = cursor + n
        return (following if following < len(records) else 0), [Registration(r) for r in records[cursor:following]]

    async def add(self, aor: str, contact_uri: str, expires: int, q: float | None = None, path: str = "") -> None:
        expires_at = self.now_ms + expires * 1000
        binding = Binding(uri=contact_uri, call_id="operator", cseq=1, expires_at=expires_at, q=q, path=path)
        self.change(aor, lambda draft: draft.add(binding))

    async def end(self, aor: str, contact: str | None, event: ContactEvent, retry_after: int) -> int:
        self.ended.append((event, retry_after))
        removed: int = self.change(aor, lambda draft: draft.remove(contact, event, retry_after))
        return removed

    async def shorten(self, aor: str, contact: str | None, expires: int) -> int:
        shortened: int = self.change(aor, lambda draft: draft.shorten(contact, expires))
        return shortened

    async def subscribe(self, uri: str, expires: int) -> int:
        if "@" not in uri:
            raise ValueError("no user")
        self.followed[uri] = expires
        return 1

    async def unsubscribe(self, uri: str) -> int:
        return int(self.followed.pop(uri, None) is not None)

    async def bind(self, bindings: Sequence[tuple[str, Binding]]) -> list[bool | Exception]:
        return [self._bind(aor, binding) for aor, binding in bindings]

    def _bind(self, aor: str, binding: Binding) -> bool | Exception:
        if not aor.endswith("@example.com"):
            return ValueError(f"{aor} is not of example.com")
        return bool(self.change(aor, lambda draft: draft.add(binding)))

    async def flush(self) -> None:
        self.flushed += 1

    async def drain(self, final: bool) -> None:
        self.drained.append(final)

    def statistics(self) -> dict[str, dict[str, int]]:
        return {"requests": {"REGISTER": 5, "OPTIONS": 1}, "feed": {"contacts": 3}}

    # -- traces -----------------------------------------------------------------------------------------

    def start(self, wanted: str, seconds: int, count: int, is_exported: bool) -> TraceStatus:
        if wanted == "nonsense":
            raise ValueError("'nonsense' is neither an address-of-record nor an address")
        self.trace = TraceStatus(7, wanted, True, seconds, count, 12, is_exported)
        return self.trace

    def stop(self, id: int) -> bool:
        return id == 7

    def status(self) -> list[TraceStatus]:
        return [] if self.trace is None else [self.trace]

    async def read(self, id: int, after: int, wait: float) -> tuple[TraceStatus, int, list[TracedMessage]] | None:
        if self.trace is None or id != 7:
            return None
        udp = TracedMessage(1_700_000_000.25, False, "udp", ("192.0.2.1", 5062), ("192.0.2.9", 5060), b"\xff\r\n\x1b")
        tls = TracedMessage(1_700_000_001.0, True, "tls", ("::1", 5061), ("::2", 40000), b"SIP/2.0 200 OK")
        return self.trace, 12, [udp, tls]


@pytest.fixture
def table() -> Table:
    return Table()


async def no_feed(webhook: Webhook) -> Callable[[], Awaitable[None]]:
    """Refuse to be followed."""
    raise AssertionError(webhook.name)


def nothing_else() -> Inventory:
    """Return the inventory of a server without peers, watchers and publications."""

    async def peers() -> list[PeerView]:
        return []

    return Inventory(peers, lambda asked: Subscriptions([], None), lambda asked: Publications([], None))


@pytest.fixture
def call(table: Table) -> Callable[..., Any]:
    commands = Commands(
        table.lookup,
        table.page,
        table.add,
        table.end,
        table.shorten,
        table.subscribe,
        table.unsubscribe,
        table.statistics,
        table.bind,
        table.flush,
        table.drain,
    )
    hooks = Webhooks(no_feed, lambda patterns: bool, lambda engine_ms: engine_ms)
    methods = Rpc(commands, nothing_else(), lambda: Now(table.now_ms, table.now_ms / 1000), hooks, table).methods()

    def run(method: str, params: Params | None = None) -> Any:
        async def once() -> Any:
            return await methods[method](params or [])

        return msgspec.json.decode(msgspec.json.encode(asyncio.run(once())))  # as its caller reads it

    return run


def refusal(call: Callable[..., Any], method: str, params: Params) -> int:
    with pytest.raises(RpcError) as caught:
        call(method, params)
    return caught.value.code


def test_an_added_contact_has_the_fields_kamailio_prints(call: Callable[..., Any], table: Table) -> None:
    added = call("ul.add", [ALICE, "sip:alice@192.0.2.7:5060", 60, 0.5])
    [contact] = added["Contacts"]
    assert added["AoR"] == ALICE
    assert (contact["Address"], contact["Expires"], contact["Q"]) == ("sip:alice@192.0.2.7:5060", 60, 0.5)
    assert (contact["Event"], contact["Origin"], contact["CSeq"]) == ("created", "local", 1)
    for unset in ("User-Agent", "Received", "Path", "Instance", "Reg-Id", "Params", "Display-Name"):
        assert contact[unset] is None
    table.now_ms += 20_500
    assert call("ul.lookup", [ALICE])["Contacts"][0]["Expires"] == 40


@pytest.mark.parametrize(
    "params",
    [[ALICE], ["location", ALICE], ["alice@example.com"], ["SIP:alice@EXAMPLE.com"], {"aor": "sips:alice@example.com"}],
)
def test_an_aor_is_found_however_it_is_written(call: Callable[..., Any], params: Params) -> None:
    """URI-7"""
    call("ul.add", [ALICE, "sip:a@192.0.2.7"])
    assert call("ul.lookup", params)["AoR"] == ALICE


def test_everything_is_flushed_on_demand(call: Callable[..., Any], table: Table) -> None:
    assert call("ul.flush") is None
    assert call("ul.flush", ["location"]) is None
    assert table.flushed == 2


def test_draining_is_final_only_if_said(call: Callable[..., Any], table: Table) -> None:
    assert call("reg.drain") == {"Final": False}
    assert call("reg.drain", [True]) == {"Final": True}
    assert table.drained == [False, True]


@pytest.mark.parametrize(
    ("method", "params", "ended"),
    [
        ("reg.deactivate", [ALICE], (ContactEvent.DEACTIVATED, 0)),
        ("reg.deactivate", [ALICE, "sip:a@192.0.2.7"], (ContactEvent.DEACTIVATED, 0)),
        ("reg.reject", [ALICE], (ContactEvent.REJECTED, 0)),
        ("reg.probation", [ALICE, "sip:a@192.0.2.7", 120], (ContactEvent.PROBATION, 120)),
        ("reg.probation", {"aor": ALICE}, (ContactEvent.PROBATION, 60)),
        ("ul.rm", [ALICE], (ContactEvent.DEACTIVATED, 0)),
    ],
)
def test_administrative_verbs_end_contacts_with_their_event(
    call: Callable[..., Any], table: Table, method: str, params: Params, ended: tuple[ContactEvent, int]
) -> None:
    """REV-8"""
    call("reg.create", [ALICE, "sip:a@192.0.2.7"])
    assert call(method, params) == {"Removed": 1}
    assert table.ended == [ended]
    assert refusal(call, method, params) == NOT_FOUND


def test_a_contact_is_shortened_but_never_lengthened(call: Callable[..., Any]) -> None:
    """REV-8: shortened"""
    call("ul.add", [ALICE, "sip:a@192.0.2.7", 600])
    assert call("reg.shorten", [ALICE, None, 30]) == {"Shortened": 1}
    [contact] = call("ul.lookup", [ALICE])["Contacts"]
    assert (contact["Expires"], contact["Event"]) == (30, "shortened")
    assert refusal(call, "reg.shorten", [ALICE, None, 60]) == NOT_FOUND


def test_following_another_server(call: Callable[..., Any], table: Table) -> None:
    """SUB-13, SUB-7: begun and ended by its URI."""
    assert call("reg.subscribe", [ALICE]) == {"Servers": 1}
    assert table.followed == {ALICE: 3600}
    assert call("reg.subscribe", {"uri": ALICE, "expires": 60}) == {"Servers": 1}
    assert call("reg.unsubscribe", [ALICE]) == {"Servers": 1}
    assert refusal(call, "reg.unsubscribe", [ALICE]) == NOT_FOUND
    assert refusal(call, "reg.subscribe", ["alice"]) == INVALID_PARAMS
    assert refusal(call, "reg.subscribe", [ALICE, 0]) == INVALID_PARAMS


def test_a_lifetime_is_an_hour_unless_given(call: Callable[..., Any]) -> None:
    assert call("ul.add", [ALICE, "sip:a@192.0.2.7"])["Contacts"][0]["Expires"] == 3600
    assert call("ul.add", {"aor": ALICE, "contact": "sip:b@192.0.2.7", "expires": 2**32 - 1})


def test_dump_walks_the_table_in_pages(call: Callable[..., Any]) -> None:
    users = [f"sip:u{number}@example.com" for number in range(5)]
    for user in users:
        call("ul.add", [user, "sip:a@192.0.2.7"])
    cursor: int | None = 0
    seen: list[str] = []
    for expected in (2, 2, 1):
        page = call("ul.dump", {"cursor": cursor, "limit": 2})
        assert len(page["AoRs"]) == expected
        seen += [registration["AoR"] for registration in page["AoRs"]]
        cursor = page["Cursor"]
    assert cursor is None
    assert seen == users
    assert len(call("ul.dump")["AoRs"]) == 5


def test_a_brief_dump_names_the_aors(call: Callable[..., Any]) -> None:
    """As `kamctl ul show --brief` asks."""
    users = [f"sip:u{number}@example.com" for number in range(3)]
    for user in users:
        call("ul.add", [user, "sip:a@192.0.2.7"])
    assert call("ul.dump", ["brief"]) == {"AoRs": [{"AoR": user} for user in users], "Cursor": None}
    assert call("ul.dump", ["brief", 1, 1]) == {"AoRs": [{"AoR": users[1]}], "Cursor": 2}
    assert refusal(call, "ul.dump", ["brief", -1]) == INVALID_PARAMS


def test_a_contact_is_added_as_kamctl_does(call: Callable[..., Any]) -> None:
    """Table, AoR, contact, expires, q, Path, flags, branch flags, methods."""
    permanent = ["location", "alice@example.com", "sip:a@192.0.2.7", 0, 1.0, ".", 0, 0, 4294967295]
    [contact] = call("ul.add", permanent)["Contacts"]
    assert (contact["Expires"], contact["Q"], contact["Path"]) == (2**32 - 1, 1.0, None)
    behind = ["location", "bob@example.com", "sip:b@192.0.2.7", 60, 0.5, "<sip:edge.example.com;lr>", 0, 0, 0]
    [contact] = call("ul.add", behind)["Contacts"]
    assert (contact["Expires"], contact["Path"]) == (60, "<sip:edge.example.com;lr>")


def test_a_page_longer_than_a_piece_is_shown_whole(call: Callable[..., Any]) -> None:
    users = [f"sip:u{number}@example.com" for number in range(PIECE + 3)]
    for user in users:
        call("ul.add", [user, "sip:a@192.0.2.7"])
    page = call("ul.dump", {"limit": PIECE + 1})
    assert [one["AoR"] for one in page["AoRs"]] == users[: PIECE + 1]
    page = call("ul.dump", {"cursor": page["Cursor"], "limit": PIECE})
    assert [one["AoR"] for one in page["AoRs"]] == users[PIECE + 1 :]
    assert page["Cursor"] is None


def test_rm_removes_all_contacts_and_rm_contact_one(call: Callable[..., Any]) -> None:
    for contact in ("sip:a@192.0.2.7", "sip:b@192.0.2.7", "sip:c@192.0.2.7"):
        call("ul.add", [ALICE, contact])
    assert call("ul.rm_contact", ["location", ALICE, "sip:b@192.0.2.7"]) == {"Removed": 1}
    assert refusal(call, "ul.rm_contact", [ALICE, "sip:b@192.0.2.7"]) == NOT_FOUND
    contact_id = call("ul.lookup", [ALICE])["Contacts"][0]["Contact-Id"]
    assert call("ul.rm_contact", [ALICE, contact_id]) == {"Removed": 1}
    assert call("ul.rm", [ALICE]) == {"Removed": 1}
    assert refusal(call, "ul.rm", [ALICE]) == NOT_FOUND
    assert refusal(call, "ul.lookup", [ALICE]) == NOT_FOUND


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("ul.lookup", []),
        ("ul.lookup", [5]),
        ("ul.lookup", [ALICE, "more"]),
        ("ul.lookup", {"aor": ALICE, "more": 1}),
        ("ul.lookup", ["tel:+1234"]),
        ("ul.lookup", ["sip:"]),
        ("ul.lookup", ["alice@exa mple.com"]),
        ("ul.add", [ALICE]),
        ("ul.add", [ALICE, "sip:a@192.0.2.7\r\nX: y"]),
        ("ul.add", [ALICE, "no uri"]),
        ("ul.add", [ALICE, "sip:a@192.0.2.7", 0]),
        ("ul.add", [ALICE, "sip:a@192.0.2.7", 2**32]),
        ("ul.add", [ALICE, "sip:a@192.0.2.7", "60"]),
        ("ul.add", [ALICE, "sip:a@192.0.2.7", 60, 1.1]),
        ("ul.add", [ALICE, "sip:a@192.0.2.7", 60, 1.0, "no path"]),
        ("ul.add", ["location", ALICE, "sip:a@192.0.2.7", -1]),
        ("ul.add", ["location", ALICE]),
        ("ul.add", ["location", ALICE, "sip:a@192.0.2.7", 60, 1.0, ".", 0, 0, 0, 0]),
        ("stats.get_statistics", [5]),
        ("stats.get_statistics", {"names": "all"}),
        ("ul.rm_contact", [ALICE]),
        ("ul.dump", {"limit": 0}),
        ("ul.dump", {"limit": 1001}),
        ("ul.dump", {"cursor": -1}),
        ("core.uptime", [1]),
        ("reg.subscriptions", {"limit": 1001}),
        ("reg.subscriptions", {"role": "publisher"}),
        ("reg.publications", {"cursor": -1}),
        ("reg.peers", [1]),
    ],
)
def test_parameters_are_checked(call: Callable[..., Any], table: Table, method: str, params: Params) -> None:
    """SEC-5: what an operator adds is held to the grammar a phone is held to."""
    assert refusal(call, method, params) == INVALID_PARAMS
    assert table.records == {}


@pytest.mark.parametrize(
    ("params", "result"),
    [
        ([], {"requests": {"REGISTER": 5, "OPTIONS": 1}, "feed": {"contacts": 3}}),
        (["all"], {"requests": {"REGISTER": 5, "OPTIONS": 1}, "feed": {"contacts": 3}}),
        (["feed:"], {"feed": {"contacts": 3}}),
        (["feed"], {"feed": {"contacts": 3}}),
        (["requests:OPTIONS"], {"requests": {"OPTIONS": 1}}),
        (["OPTIONS"], {"requests": {"OPTIONS": 1}}),
        (
            ["requests:REGISTER", "contacts", "OPTIONS"],
            {"requests": {"REGISTER": 5, "OPTIONS": 1}, "feed": {"contacts": 3}},
        ),
        ({"name": "feed:"}, {"feed": {"contacts": 3}}),
    ],
)
def test_statistics_are_asked_for_by_group_and_name(call: Callable[..., Any], params: Params, result: object) -> None:
    assert call("stats.get_statistics", params) == result


@pytest.mark.parametrize("name", ["nothing:", "feed:nothing", "nothing", "nothing:contacts", ""])
def test_statistics_that_do_not_exist_are_not_found(call: Callable[..., Any], name: str) -> None:
    assert refusal(call, "stats.get_statistics", [name]) == NOT_FOUND


def test_uptime_version_and_methods(call: Callable[..., Any], table: Table) -> None:
    table.now_ms += 90_000
    assert call("core.uptime") == {
        "now": "2023-11-14T22:14:50.000Z",
        "up_since": "2023-11-14T22:13:20.000Z",
        "uptime": 90,
    }
    assert call("core.version").startswith("reginfo ")
    methods = call("system.listMethods")
    assert methods == sorted(methods)
    assert {"ul.dump", "ul.lookup", "ul.add", "ul.rm", "ul.rm_contact", "system.listMethods"} <= set(methods)


def test_a_trace_is_started_read_and_stopped(call: Callable[..., Any]) -> None:
    started = call("trace.start", {"wanted": "192.0.2.0/24", "seconds": 30, "hep": True})
    assert started == {
        "Id": 7,
        "Trace": "192.0.2.0/24",
        "State": "running",
        "Seconds": 30,
        "Count": 1000,
        "Messages": 12,
        "HEP": True,
    }
    assert call("trace.list") == [started]
    read = call("trace.read", [7, 4, 1.5])
    assert read == {
        "Trace": started,
        "Messages": [
            {
                "Time": "2023-11-14T22:13:20.250000Z",
                "Direction": "in",
                "Transport": "udp",
                "Source": "192.0.2.1:5062",
                "Destination": "192.0.2.9:5060",
                "Message": "\\xff\r\n\x1b",
            },
            {
                "Time": "2023-11-14T22:13:21.000000Z",
                "Direction": "out",
                "Transport": "tls",
                "Source": "[::1]:5061",
                "Destination": "[::2]:40000",
                "Message": "SIP/2.0 200 OK",
            },
        ],
        "Cursor": 12,
        "Missed": 6,
    }
    assert call("trace.stop", [7]) == {"Stopped": 7}


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("trace.start", ["nonsense"], INVALID_PARAMS),
        ("trace.start", [], INVALID_PARAMS),
        ("trace.start", ["192.0.2.1", 0], INVALID_PARAMS),
        ("trace.start", ["192.0.2.1", 86_401], INVALID_PARAMS),
        ("trace.start", ["192.0.2.1", 60, 1_000_001], INVALID_PARAMS),
        ("trace.read", [7, 0, 5.1], INVALID_PARAMS),
        ("trace.read", [8], NOT_FOUND),
        ("trace.stop", [8], NOT_FOUND),
        ("trace.stop", ["x"], INVALID_PARAMS),
        ("trace.list", ["x"], INVALID_PARAMS),
    ],
)
def test_traces_that_cannot_be_are_refused(call: Callable[..., Any], method: str, params: Params, code: int) -> None:
    assert refusal(call, method, params) == code
