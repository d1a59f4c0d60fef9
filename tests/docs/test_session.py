"""What a page's session hears of the commands it has begun."""

from pathlib import Path

import pytest

from tests.docs.session import NoNetwork, Session

pytestmark = pytest.mark.network


def test_last_words_of_a_background_command_are_heard_after_its_end(tmp_path: Path) -> None:
    try:
        session = Session(tmp_path)
    except NoNetwork as reason:
        pytest.skip(f"no network namespace of one's own: {reason}")
    with session:
        session.run("{ echo ready; echo last words; echo > ended; } &", "ready")
        session.run("until test -s ended; do sleep 0.01; done", "")
        session.later("last words")
