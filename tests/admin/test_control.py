"""Control: JSON-RPC 2.0 lines, and the life of the socket they travel over."""

import asyncio
import json
import logging
import os
import socket
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reginfo.admin import control
from reginfo.admin.control import ControlClient, ControlServer, Json, Method, Params, RpcError, answer
from reginfo.errors import ReginfoError, ServerUnreachable, StoreUnavailable


async def _echo(params: Params) -> Json:
    return params


async def _refuse(params: Params) -> Json:
    raise RpcError(control.NOT_FOUND, "no such thing", {"asked": "thing"})


async def _unavailable(params: Params) -> Json:
    raise StoreUnavailable("disk full", retry_after=7)


async def _fail(params: Params) -> Json:
    raise ZeroDivisionError("the secret 4711")


METHODS: dict[str, Method] = {"echo": _echo, "refuse": _refuse, "unavailable": _unavailable, "fail": _fail}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "control.sock")


@pytest.fixture
async def server(path: str) -> AsyncIterator[ControlServer]:
    running = ControlServer(path, METHODS)
    await running.start()
    yield running
    await running.close()


def ask(line: str | bytes) -> Any:
    octets = asyncio.run(answer(line.encode() if isinstance(line, str) else line, METHODS))
    assert octets.count(b"\n") == octets.endswith(b"\n")
    return json.loads(octets) if octets else None


# ---- the protocol


@pytest.mark.parametrize("params", [[], ["a", 1, None], {"aor": "sip:alice@example.com"}])
@pytest.mark.parametrize("identifier", [1, "one", None, 1.5])
def test_a_call_is_answered_with_its_result_and_id(params: Json, identifier: Json) -> None:
    request = {"jsonrpc": "2.0", "method": "echo", "params": params, "id": identifier}
    assert ask(json.dumps(request)) == {"jsonrpc": "2.0", "result": params, "id": identifier}


@pytest.mark.parametrize("method", ["echo", "refuse", "unavailable", "fail", "nothing"])
def test_a_notification_is_never_answered(method: str) -> None:
    assert ask(f'{{"jsonrpc": "2.0", "method": "{method}"}}') is None


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("", control.PARSE_ERROR),
        ("{", control.PARSE_ERROR),
        (b'{"method": "\xff"}', control.PARSE_ERROR),
        ("[" * 30_000, control.PARSE_ERROR),
        ("[]", control.INVALID_REQUEST),
        ('[{"jsonrpc": "2.0", "method": "echo", "id": 1}]', control.INVALID_REQUEST),
        ('{"method": "echo", "id": 1}', control.INVALID_REQUEST),
        ('{"jsonrpc": "1.0", "method": "echo", "id": 1}', control.INVALID_REQUEST),
        ('{"jsonrpc": "2.0", "method": 5, "id": 1}', control.INVALID_REQUEST),
        ('{"jsonrpc": "2.0", "method": "echo", "params": 5, "id": 1}', control.INVALID_REQUEST),
        ('{"jsonrpc": "2.0", "method": "echo", "id": {}}', control.INVALID_REQUEST),
        ('{"jsonrpc": "2.0", "method": "nothing", "id": 1}', control.METHOD_NOT_FOUND),
        ('{"jsonrpc": "2.0", "method": "refuse", "id": 1}', control.NOT_FOUND),
        ('{"jsonrpc": "2.0", "method": "unavailable", "id": 1}', control.UNAVAILABLE),
        ('{"jsonrpc": "2.0", "method": "fail", "id": 1}', control.INTERNAL_ERROR),
    ],
)
def test_an_error_has_its_code(line: str | bytes, code: int) -> None:
    response = ask(line)
    assert response["error"]["code"] == code
    assert response["id"] == (None if code in (control.PARSE_ERROR, control.INVALID_REQUEST) else 1)


def test_errors_carry_their_data_and_faults_stay_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert ask('{"jsonrpc":"2.0","method":"refuse","id":1}')["error"]["data"] == {"asked": "thing"}
    assert ask('{"jsonrpc":"2.0","method":"unavailable","id":1}')["error"]["data"] == {"retry_after": 7}
    with caplog.at_level(logging.ERROR):
        assert "4711" not in str(ask('{"jsonrpc":"2.0","method":"fail","id":1}'))
    assert "4711" in caplog.text


# ---- the socket


async def test_only_the_owner_may_open_the_socket(server: ControlServer, path: str) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


async def test_the_socket_is_gone_after_close(server: ControlServer, path: str) -> None:
    await server.close()
    assert not os.path.exists(path)
    await server.close()


async def test_an_empty_path_serves_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = ControlServer("", METHODS)
    await server.start()
    assert list(tmp_path.iterdir()) == []
    await server.close()


async def test_a_socket_nobody_serves_is_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(path)
    server = ControlServer(path, METHODS)
    await server.start()
    await server.close()


async def test_a_socket_somebody_serves_is_left_alone(server: ControlServer, path: str) -> None:
    with pytest.raises(ReginfoError, match="another server answers there"):
        await ControlServer(path, METHODS).start()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"jsonrpc":"2.0","method":"echo","id":1}\n')
    assert json.loads(await reader.readline())["result"] == []
    writer.close()


async def test_a_file_is_never_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("data")
    with pytest.raises(ReginfoError, match="exists and is no socket"):
        await ControlServer(str(precious), METHODS).start()
    assert precious.read_text() == "data"


async def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReginfoError, match=r"absent/control\.sock: No such file or directory"):
        await ControlServer(str(tmp_path / "absent" / "control.sock"), METHODS).start()


async def test_closing_leaves_a_successors_socket(server: ControlServer, path: str) -> None:
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(path)
        await server.close()
        assert os.path.exists(path)


async def test_requests_of_a_client_are_answered_in_order(server: ControlServer, path: str) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    for number in range(50):
        writer.write(b'{"jsonrpc":"2.0","method":"echo","id":%d}\n' % number)
    assert [json.loads(await reader.readline())["id"] for _ in range(50)] == list(range(50))
    writer.close()


async def test_a_request_of_the_limit_is_answered_and_one_beyond_ends_the_connection(
    server: ControlServer, path: str
) -> None:
    """SEC-5"""

    def request(length: int) -> bytes:
        head, tail = b'{"jsonrpc":"2.0","method":"echo","id":1,"params":["', b'"]}\n'
        return head + b"x" * (length - len(head) - len(tail)) + tail

    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 20)
    writer.write(request(control.MAX_REQUEST))
    assert "result" in json.loads(await reader.readline())
    writer.write(request(control.MAX_REQUEST + 2))
    assert json.loads(await reader.readline())["error"]["code"] == control.INVALID_REQUEST
    assert await reader.read() == b""
    writer.close()


async def test_one_client_too_many_is_told_so(server: ControlServer, path: str) -> None:
    """SEC-5"""
    clients = [await asyncio.open_unix_connection(path) for _ in range(control.MAX_CLIENTS)]
    for reader, writer in clients:
        writer.write(b'{"jsonrpc":"2.0","method":"echo","id":1}\n')
        assert "result" in json.loads(await reader.readline())
    reader, extra = await asyncio.open_unix_connection(path)
    assert json.loads(await reader.readline())["error"]["code"] == control.TOO_MANY_CLIENTS
    assert await reader.read() == b""
    for _, writer in [*clients, (reader, extra)]:
        writer.close()


async def test_a_silent_client_loses_its_place(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "IDLE_TIMEOUT", 0.01)
    server = ControlServer(path, METHODS)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(path)
    assert await reader.read() == b""
    writer.close()
    await server.close()


async def test_closing_hangs_up_on_clients(server: ControlServer, path: str) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"jsonrpc":"2.0","method":"echo","id":1}\n')
    await reader.readline()
    await server.close()
    assert await reader.read() == b""
    writer.close()


# ---- the client


async def test_the_client_returns_results_and_raises_errors(server: ControlServer, path: str) -> None:
    def talk() -> None:
        with ControlClient(path) as client:
            assert client.call("echo", ["ä"]) == ["ä"]
            assert client.call("echo") == []
            with pytest.raises(RpcError, match="no such thing") as caught:
                client.call("refuse")
            assert (caught.value.code, caught.value.data) == (control.NOT_FOUND, {"asked": "thing"})

    await asyncio.to_thread(talk)


def test_no_server_is_unreachable(path: str) -> None:
    with pytest.raises(ServerUnreachable, match=r"no server at .*control\.sock: No such file or directory"):
        ControlClient(path)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (b"", "hung up"),
        (b'{"jsonrpc"', "hung up"),
        (b"HTTP/1.1 400 Bad Request\r\n", "no reginfo server"),
        (b"[]\n", "no reginfo server"),
        (b'{"error": 5}\n', "no reginfo server"),
    ],
)
def test_a_peer_that_is_no_server_is_unreachable(path: str, response: bytes, message: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(response)

        thread = threading.Thread(target=serve)
        thread.start()
        with ControlClient(path) as client, pytest.raises(ServerUnreachable, match=message):
            client.call("echo")
        thread.join()


def test_a_server_that_does_not_answer_in_time_is_unreachable(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with ControlClient(path, timeout=0.01) as client, pytest.raises(ServerUnreachable, match="does not answer"):
            client.call("echo")
