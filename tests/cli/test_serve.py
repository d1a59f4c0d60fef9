"""`reginfo serve` as far as it goes without serving: checking, printing and refusing."""

import io
import logging
import signal
import tomllib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from reginfo.cli.serve import hints_text, reload, show_box, status_text, summary
from reginfo.config import Config, Listener, load_config
from tests.cli.conftest import Run, Spawn

LISTENERS = [Listener("udp", "127.0.0.1", 5062), Listener("tcp", "127.0.0.1", 5062)]


def test_check_config_says_what_it_checked(run: Run) -> None:
    assert run("serve", "--check-config") == (0, "defaults: ok\n", "")
    Path("other.toml").write_text('domains = ["example.net"]')
    assert run("serve", "--check-config", "-c", "other.toml") == (0, "other.toml: ok\n", "")


@pytest.mark.parametrize("action", [[], ["--check-config"]])
def test_a_public_address_without_users_is_refused_with_the_reason(spawn: Spawn, action: list[str]) -> None:
    process = spawn("serve", "--listen", "udp:0.0.0.0:0", "--store", "memory:", *action)
    out, err = process.communicate()
    assert (process.returncode, out) == (78, "")
    assert err == (
        "reginfo: auth.db_url: subscriber.db does not exist; reginfo user add makes it "
        "(users are asked for because udp:0.0.0.0:0 is reachable from the network)\n"
    )


def test_check_config_finds_users_that_are_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    run("user", "add", "alice", "--password-stdin")
    assert run("serve", "--check-config", "--listen", "udp:0.0.0.0:0") == (0, "defaults: ok\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["-c", "open.toml", "--listen", "udp:0.0.0.0:5060"],
            "open.toml line 2: listen udp:0.0.0.0:5060 is reachable from the network",
        ),
        (["--listen", "5060"], "command line: listen '5060' must be TRANSPORT:ADDRESS:PORT"),
        (["--domain", "a b"], "command line: domains: 'a b' is neither"),
        (["--store", "sqlite:x"], "command line: store.url must be"),
        (["--durability", "eventually"], 'command line: store.durability must be one of "batched", "committed"'),
        (["-c", "absent.toml"], "absent.toml: No such file or directory"),
    ],
)
@pytest.mark.parametrize("action", [[], ["--check-config"], ["--print-config"]])
def test_a_bad_configuration_exits_78_and_starts_nothing(
    run: Run, arguments: list[str], message: str, action: list[str]
) -> None:
    Path("open.toml").write_text("[auth]\nenabled = false\n")
    ran = run("serve", *arguments, *action)
    assert ran.code == 78
    assert ran.out == ""
    assert ran.err.startswith("reginfo: ")
    assert message in ran.err


def test_print_config_is_toml_with_origins(run: Run) -> None:
    ran = run(
        "serve", "--print-config", "--listen", "udp:127.0.0.1:0", "--domain", "a.example", "--domain", "b.example"
    )
    assert ran.code == 0
    printed = tomllib.loads(ran.out)
    assert printed["listen"] == ["udp:127.0.0.1:0"]
    assert printed["domains"] == ["a.example", "b.example"]
    assert ran.out.count("# from command line") == 2


def test_the_start_up_box_says_what_listens_and_what_to_try() -> None:
    loaded = load_config(environ={}, options={"store.url": "memory:"})
    text = status_text(loaded, LISTENERS)
    assert "udp:127.0.0.1:5062, tcp:127.0.0.1:5062" in text
    assert "memory: (memory)" in text
    assert hints_text(loaded.config, LISTENERS).endswith(" ul show")
    Path("benchmarks/sipp").mkdir(parents=True)
    Path("benchmarks/sipp/register.xml").touch()
    assert "  sipp 127.0.0.1:5062 -sf benchmarks/sipp/register.xml " in hints_text(loaded.config, LISTENERS)


def test_what_to_try_gives_a_user_where_users_are_asked_for() -> None:
    Path("benchmarks/sipp").mkdir(parents=True)
    Path("benchmarks/sipp/register.xml").touch()
    loaded = load_config(environ={"REGINFO_AUTH__ENABLED": "true"})
    hints = hints_text(loaded.config, LISTENERS)
    assert " watch alice@example.com --server 127.0.0.1:5062 --user alice\n" in hints
    assert " register alice@example.com sip:alice@192.0.2.7:5060 --server 127.0.0.1:5062 --user alice\n" in hints
    assert "sipp" not in hints  # whose scenario knows no password


def test_what_to_try_names_a_control_socket_that_is_not_the_default() -> None:
    Path("c.toml").write_text('[admin]\nsocket = "other.sock"')
    assert " ul show --socket other.sock" in hints_text(load_config(Path("c.toml"), environ={}).config, LISTENERS)
    Path("c.toml").write_text('[admin]\nsocket = ""')
    hints = hints_text(load_config(Path("c.toml"), environ={}).config, LISTENERS)
    assert hints.endswith(" register alice@example.com sip:alice@192.0.2.7:5060 --server 127.0.0.1:5062")


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_box_has_a_frame_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_config(environ={})
    for stream, framed in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stdout", stream)
        show_box(loaded, LISTENERS)
        assert ("╭" in stream.getvalue()) == framed
        assert "try now" in stream.getvalue()


def test_no_width_of_a_terminal_breaks_what_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("benchmarks/sipp").mkdir(parents=True)
    Path("benchmarks/sipp/register.xml").touch()
    loaded = load_config(environ={})
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout", stream := Terminal())
    show_box(loaded, LISTENERS)
    assert stream.getvalue().endswith(f"╯\n{hints_text(loaded.config, LISTENERS)}\n")
    assert "(printf 'SEQUENTIAL\\nalice\\nbob\\n') -m 1000 -r 500\n" in stream.getvalue()


class Server:
    """Remembers the configurations it was given."""

    def __init__(self) -> None:
        self.configs: list[Config] = []

    def reload(self, config: Config) -> None:
        self.configs.append(config)

    def statistics(self) -> dict[str, dict[str, int]]:
        return {"requests": {"REGISTER": 5, "OPTIONS": 0}, "errors": {}}


def test_sighup_takes_a_new_configuration_and_keeps_the_command_line() -> None:
    server, file = Server(), Path("c.toml")
    file.write_text('domains = ["a.example"]\n[log]\nlevel = "error"')
    reload(cast(Any, server), file, {"store.url": "memory:"})
    assert server.configs[0].domains == ("a.example",)
    assert server.configs[0].store.url == "memory:"
    assert logging.getLogger().level == logging.ERROR


def test_sighup_does_not_end_a_server_that_is_starting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[object] = []

    def start(serving: Coroutine[Any, Any, None]) -> None:
        serving.close()
        found.append(signal.getsignal(signal.SIGHUP))

    before = signal.getsignal(signal.SIGHUP)
    monkeypatch.setattr("reginfo.cli.serve.logs.configure", lambda *_: None)
    monkeypatch.setattr("uvloop.run", start)
    try:
        assert run("serve", "--store", "memory:").code == 1  # nothing was served that could be summed up
    finally:
        signal.signal(signal.SIGHUP, before)
    assert found == [signal.SIG_IGN]


def test_sighup_keeps_the_old_configuration_when_the_new_one_is_bad(caplog: pytest.LogCaptureFixture) -> None:
    server, file = Server(), Path("c.toml")
    file.write_text("domans = []")
    reload(cast(Any, server), file, {})
    assert server.configs == []
    assert "configuration kept" in caplog.text
    assert 'did you mean "domains"?' in caplog.text


def test_the_summary_shows_what_was_counted() -> None:
    text = summary(cast(Any, Server()))
    assert "REGISTER 5" in text
    assert "OPTIONS" not in text
    assert "errors" not in text


@pytest.mark.parametrize("action", [[], ["--check-config"]])
def test_a_secret_of_a_webhook_that_cannot_be_used_is_named(run: Run, action: list[str]) -> None:
    Path("reginfo.toml").write_text('[[webhook]]\nurl = "https://h/"\nsecret_file = "hook.secret"\n')
    missing = "reginfo: webhook.secret_file: hook.secret: No such file or directory\n"
    assert run("serve", *action) == (78, "", missing)
    Path("hook.secret").write_text("too short\n")
    short = "reginfo: webhook.secret_file: hook.secret holds no secret of at least 16 characters\n"
    assert run("serve", *action) == (78, "", short)


def test_a_secret_of_a_webhook_that_can_be_used_is_ok(run: Run) -> None:
    Path("reginfo.toml").write_text('[[webhook]]\nurl = "https://h/"\nsecret_file = "hook.secret"\n')
    Path("hook.secret").write_text("0123456789abcdef\n")
    assert run("serve", "--check-config") == (0, "reginfo.toml: ok\n", "")
