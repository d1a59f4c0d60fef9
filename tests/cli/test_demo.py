"""`reginfo demo`: ends by itself, with 0 if what was told is the truth."""

import pytest
from click.testing import CliRunner

from reginfo.cli import demo as module
from reginfo.cli import root

pytestmark = pytest.mark.network


def test_it_shows_what_the_watcher_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.1)
    result = CliRunner().invoke(root, ["demo"])
    assert result.exit_code == 0, result.output
    shown = [line.split()[2] for line in result.output.splitlines() if " sip:desk@" in line or " sip:mobile@" in line]
    assert sorted(shown) == sorted([*["registered"] * 5, "deactivated", "rejected", "unregistered", "expired"])
    assert result.output.splitlines()[-1].strip() == "The watcher knows what the registrar knows."


def test_it_fails_if_the_watcher_knows_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> bool:
        return False

    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(module, "_is_true", never)
    result = CliRunner().invoke(root, ["demo"])
    assert result.exit_code == 1
