"""`reginfo register` against a real server."""

import json

import pytest

from reginfo.fast import parse_uri
from tests.cli.conftest import Registrar, Run

pytestmark = pytest.mark.network


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_contact_is_bound_and_shown_with_its_lifetime(run: Run, registrar: Registrar, transport: str) -> None:
    aor = f"{transport}@example.com"
    server = getattr(registrar, transport)
    ran = run("register", aor, "sip:phone@192.0.2.1", "--expires", "600", "--server", server)
    assert (ran.code, ran.err) == (0, "")
    contact, word, left = ran.out.split()
    assert (contact, word) == ("sip:phone@192.0.2.1", "expires")
    assert 0 < int(left) <= 600
    shown = json.loads(run("ul", "show", aor, "--json", "--socket", registrar.socket).out)
    assert [one["Address"] for one in shown["Contacts"]] == ["sip:phone@192.0.2.1"]


def test_json_has_every_contact_that_is_bound(run: Run, registrar: Registrar) -> None:
    options = ("--server", registrar.udp, "--json")
    run("register", "several@example.com", "sip:first@192.0.2.1", "--q", "0.5", *options)
    answer = json.loads(run("register", "sip:several@example.com", "sip:second@192.0.2.2", *options).out)
    assert (answer["aor"], answer["status"]) == ("sip:several@example.com", 200)
    bound = {one["contact"]: one["q"] for one in answer["contacts"]}
    assert bound == {"sip:first@192.0.2.1": 0.5, "sip:second@192.0.2.2": None}
    assert answer["service_route"] == []  # SVR-1: cleared by a 200 without one


@pytest.mark.parametrize("aor", ["sip:example.net", "SIP:domain@EXAMPLE.net", "sip:domain@example.net;x=y"])
def test_the_request_uri_is_the_domain_alone(run: Run, registrar: Registrar, aor: str) -> None:
    ran = run("register", aor, "sip:phone@192.0.2.1", "--server", registrar.udp)
    assert (ran.code, ran.err) == (0, "")


def test_a_secure_address_of_record_is_registered_at_its_secure_domain(run: Run, registrar: Registrar) -> None:
    ran = run("register", "sips:secure@example.net", "sips:phone@192.0.2.1", "--server", registrar.udp)
    assert (ran.code, ran.err) == (0, "")


def test_without_contact_nothing_is_bound_and_what_is_bound_is_shown(run: Run, registrar: Registrar) -> None:
    server = ("--server", registrar.udp)
    assert run("register", "fetch@example.com", *server) == (0, "", "")
    run("register", "fetch@example.com", "sip:phone@192.0.2.1", *server)
    assert run("register", "fetch@example.com", *server).out.startswith("sip:phone@192.0.2.1  expires ")


def test_lifetime_0_ends_one_contact_and_the_star_all(run: Run, registrar: Registrar) -> None:
    server = ("--server", registrar.udp)
    for contact in ("sip:a@192.0.2.1", "sip:b@192.0.2.1", "sip:c@192.0.2.1"):
        run("register", "end@example.com", contact, *server)
    ran = run("register", "end@example.com", "sip:b@192.0.2.1", "--expires", "0", *server)
    assert {line.split()[0] for line in ran.out.splitlines()} == {"sip:a@192.0.2.1", "sip:c@192.0.2.1"}
    assert run("register", "end@example.com", "*", "--expires", "0", *server) == (0, "", "")
    assert run("ul", "show", "end@example.com", "--socket", registrar.socket).code == 3


def test_an_address_of_record_of_another_domain_is_refused_by_the_server(run: Run, registrar: Registrar) -> None:
    ran = run("register", "alice@example.org", "sip:phone@192.0.2.1", "--server", registrar.udp)
    assert ran == (1, "", "reginfo: the server answers 404 Domain is not served here\n")


def test_the_star_with_a_lifetime_is_refused_by_the_server(run: Run, registrar: Registrar) -> None:
    ran = run("register", "star@example.com", "*", "--server", registrar.udp)
    assert ran == (1, "", "reginfo: the server answers 400 Contact * needs Expires: 0\n")


def test_a_lifetime_that_is_too_short_is_refused_with_the_shortest_there_is(run: Run, registrar: Registrar) -> None:
    ran = run("register", "brief@example.com", "sip:phone@192.0.2.1", "--expires", "5", "--server", registrar.udp)
    reason = "423 Interval Too Brief, the shortest lifetime is 60 s"
    assert ran == (1, "", f"reginfo: the server answers {reason}\n")


@pytest.mark.parametrize(
    "aor", ["", "alice@", "sip:", "alice@example.com>", "alice@example.com\r\nX: y", "a b@c", "\udcff"]
)
def test_what_is_no_address_of_record_is_wrong_usage(run: Run, aor: str) -> None:
    ran = run("register", aor, "sip:phone@192.0.2.1")
    assert (ran.code, ran.out) == (2, "")
    assert "Error: Invalid value for 'AOR': " in ran.err


@pytest.mark.parametrize(
    "contact", ["", "phone", "sip:phone@", "sip:phone@192.0.2.1>;q=1", "sip:phone@192.0.2.1\r\nX: y", "\udcff"]
)
def test_what_is_no_contact_is_wrong_usage(run: Run, contact: str) -> None:
    ran = run("register", "alice@example.com", contact)
    assert (ran.code, ran.out) == (2, "")
    assert "Error: Invalid value for '[CONTACT]': " in ran.err


@pytest.mark.parametrize("value", ["-0.1", "1.1", "nan", "high"])
def test_a_preference_out_of_range_is_wrong_usage(run: Run, value: str) -> None:
    ran = run("register", "alice@example.com", "sip:phone@192.0.2.1", "--q", value)
    assert ran.code == 2
    assert "Error: Invalid value for '--q': " in ran.err


def test_a_preference_has_three_digits_on_the_wire(run: Run, registrar: Registrar) -> None:
    ran = run(
        "register", "low@example.com", "sip:phone@192.0.2.1", "--q", "0.00001", "--server", registrar.udp, "--json"
    )
    assert [one["q"] for one in json.loads(ran.out)["contacts"]] == [0]


@pytest.mark.parametrize("value", ["-1", "4294967296", "soon"])
def test_a_lifetime_out_of_range_is_wrong_usage(run: Run, value: str) -> None:
    ran = run("register", "alice@example.com", "sip:phone@192.0.2.1", "--expires", value)
    assert ran.code == 2
    assert "Error: Invalid value for '--expires': " in ran.err


@pytest.mark.parametrize("server", ["http://example.com", "sip:", "sip:host:port", "sip:host;transport=pigeon", "a b"])
def test_a_server_that_is_no_sip_uri_is_wrong_usage(run: Run, server: str) -> None:
    ran = run("register", "alice@example.com", "--server", server)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"reginfo: --server {server!r} is no SIP URI: ")
    assert ran.err.count("\n") == 1


def test_an_unreachable_server_is_one_line(run: Run, closed: str) -> None:
    ran = run("register", "alice@example.com", "sip:phone@192.0.2.1", "--server", closed)
    assert ran == (4, "", f"reginfo: udp:{closed.removeprefix('sip:')} cannot be reached\n")


def test_without_option_the_first_address_of_the_configuration_is_the_server(
    run: Run, registrar: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGINFO_LISTEN", f"udp:127.0.0.1:{parse_uri(registrar.udp).port}")
    assert run("register", "configured@example.com", "sip:phone@192.0.2.1").code == 0


def test_a_configuration_that_is_missing_is_named(run: Run) -> None:
    ran = run("register", "alice@example.com", "-c", "absent.toml")
    assert ran == (78, "", "reginfo: absent.toml: No such file or directory\n")
