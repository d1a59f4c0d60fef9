"""Kamailio in its roles, one of each per module; without the modules that they need it counts as missing."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.kamailio import DOMAIN, SCRIPTS, PresenceServer, Registrar, presence_server, registrar
from tests.interop.peer import Compositor, Notifier

_users = itertools.count(1)

MODULES = ("pua_reginfo", "presence_reginfo", "db_sqlite", "db_text", "jsonrpcs")


@pytest.fixture(scope="session")
def kamailio(kamailio: Path) -> Path:
    """The kamailio program, its modules and tables beside it."""
    for module in MODULES:
        if not list(Path("/usr/lib").glob(f"*/kamailio/modules/{module}.so")):
            pytest.skip(f"kamailio is installed without {module}: see the packages in .ci/run")
    if not SCRIPTS.is_dir():
        pytest.skip(f"kamailio is installed without {SCRIPTS}")
    if shutil.which("setpriv") is None:
        pytest.skip("kamailio cannot be bound to this process: setpriv of util-linux is not installed")
    return kamailio


@pytest.fixture(scope="module")
def compositor() -> Iterator[Compositor]:
    """Where `publishing` PUBLISHes."""
    with Compositor() as peer:
        yield peer


@pytest.fixture(scope="module")
def publishing(kamailio: Path, compositor: Compositor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registrar]:
    """A registrar that PUBLISHes, and that no NOTIFY reaches."""
    with registrar(tmp_path_factory.mktemp("publishing"), compositor.address) as server:
        yield server


@pytest.fixture(scope="module")
def notifier() -> Iterator[Notifier]:
    """Where `following` SUBSCRIBEs."""
    with Notifier() as peer:
        yield peer


@pytest.fixture(scope="module")
def following(kamailio: Path, notifier: Notifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registrar]:
    """A registrar that applies NOTIFYs, and does not PUBLISH."""
    with registrar(tmp_path_factory.mktemp("following"), notifier.address, publish=False) as server:
        yield server


@pytest.fixture(scope="module")
def presence(kamailio: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PresenceServer]:
    """A presence server."""
    with presence_server(tmp_path_factory.mktemp("presence")) as server:
        yield server


@pytest.fixture
def aor() -> str:
    """An address-of-record that no other test uses: servers are shared."""
    return f"sip:u{next(_users)}@{DOMAIN}"


@pytest.fixture
def followed(following: Registrar, notifier: Notifier, aor: str) -> Iterator[str]:
    """The same, subscribed to by `following`: `notifier` may tell of it."""
    following.subscribe(aor)
    subscribe = notifier.receive(lambda found: found.message.request_uri == aor, f"SUBSCRIBE to {aor}")
    notifier.accept(subscribe)
    yield aor
    notifier.subscription = None
