"""`reginfo ping` against a real server, and against none."""

import json

import pytest

from tests.cli.conftest import Registrar, Run

pytestmark = pytest.mark.network


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_server_that_answers_is_shown_with_what_it_allows(run: Run, registrar: Registrar, transport: str) -> None:
    ran = run("ping", getattr(registrar, transport))
    assert (ran.code, ran.err) == (0, "")
    answer, allow = ran.out.splitlines()
    assert answer.startswith("200 OK in ")
    assert answer.endswith(" ms")
    assert allow.startswith("  allows REGISTER, ")


def test_json_has_the_same(run: Run, registrar: Registrar) -> None:
    answer = json.loads(run("ping", registrar.udp, "--json").out)
    assert (answer["uri"], answer["status"], answer["reason"]) == (registrar.udp, 200, "OK")
    assert 0 < answer["ms"] < 10_000
    assert "SUBSCRIBE" in answer["allow"]


def test_the_scheme_may_be_left_out(run: Run, registrar: Registrar) -> None:
    assert run("ping", registrar.udp.removeprefix("sip:")).code == 0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_closed_port_is_an_unreachable_server(run: Run, closed: str, transport: str) -> None:
    ran = run("ping", f"{closed};transport={transport}")
    assert ran == (4, "", f"reginfo: {transport}:{closed.removeprefix('sip:')} cannot be reached\n")


def test_a_name_without_address_is_an_unreachable_server(run: Run) -> None:
    assert run("ping", "sip:host.invalid") == (4, "", "reginfo: host.invalid is not found\n")


def test_silence_is_an_unreachable_server(run: Run, silent: str, hurry: None) -> None:
    assert run("ping", silent) == (4, "", f"reginfo: udp:{silent.removeprefix('sip:')} does not answer\n")


@pytest.mark.parametrize("uri", ["sips:example.com", "sip:192.0.2.1;transport=tls", "sip:192.0.2.1;transport=ws"])
def test_what_these_commands_do_not_speak_is_said(run: Run, uri: str) -> None:
    ran = run("ping", uri)
    assert ran == (2, "", f"reginfo: URI '{uri}' leads over neither UDP nor TCP, which is all these commands speak\n")


@pytest.mark.parametrize("uri", ["", "sip:", "tel:+15551234", "a b", "sip:host;transport=pigeon"])
def test_what_is_no_sip_uri_is_wrong_usage(run: Run, uri: str) -> None:
    ran = run("ping", uri)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"reginfo: URI {uri!r} is no SIP URI: ")
    assert ran.err.count("\n") == 1
