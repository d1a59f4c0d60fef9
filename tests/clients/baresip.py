"""baresip, a SIP phone for the command line, with one account and no sound."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.server_fixture import PATIENCE, Address

_CONFIG = """\
poll_method epoll
sip_listen {host}:0
sip_cafile {authority}
module_path {modules}
module_tmp uuid.so
module_tmp account.so
module_app menu.so
"""
_ACCOUNT = (
    '<sip:{user}@{domain};transport={transport}>;outbound="sip:{host}:{port};transport={transport}"'
    ";regint=600;sipnat=outbound;auth_user={user};auth_pass={password}\n"
)


def modules() -> Path | None:
    """Return the folder of its modules; None where it is not installed."""
    found = sorted(Path("/usr/lib").glob("**/baresip/modules/account.so"))
    return found[0].parent if found else None


@contextmanager
def phone(
    folder: Path, server: Address, transport: str, user: str, domain: str, *, password: str = "-", authority: str = ""
) -> Generator["subprocess.Popen[bytes]", None, None]:
    """Let a phone be registered for the length of a block; it unregisters at its end.

    authority is the file of the certificate that the server's is checked with.
    """
    folder.mkdir()
    host, port = server
    (folder / "config").write_text(_CONFIG.format(host=host, modules=modules(), authority=authority))
    (folder / "accounts").write_text(
        _ACCOUNT.format(user=user, domain=domain, transport=transport, host=host, port=port, password=password)
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["baresip", "-s", "-f", folder], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
