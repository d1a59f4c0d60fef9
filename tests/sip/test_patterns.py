"""Texts in which `*` stands for any text, as configuration, webhooks and the event stream have them."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.sip.peers import Patterns
from tests.server_fixture import PATIENCE


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("*", "", True),
        ("**", "sip:alice@example.com", True),
        ("", "", True),
        ("", "a", False),
        ("sip:*@example.com", "sip:alice@example.com", True),
        ("sip:*@example.com", "sip:alice@example.org", False),
        ("a*a", "a", False),
        ("a*b*b", "ab", False),
        ("*ab*", "aab", True),
        ("*.b", "ab", False),
        ("a*", "a\nb", True),
    ],
)
def test_a_star_stands_for_any_text(pattern: str, text: str, matches: bool) -> None:
    assert Patterns(["no such", pattern]).match(text) is matches


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_it_matches_what_the_plain_expression_matches(pattern: str, text: str) -> None:
    plain = re.sub(r"\*+", ".*", pattern)
    assert Patterns([pattern]).match(text) is (re.fullmatch(plain, text) is not None)


@pytest.mark.parametrize("pattern", ["*a" * 127 + "b", "*" * 255 + "b", "*a*a*a*b"])
def test_no_pattern_holds_up_the_server(pattern: str) -> None:
    # In another process: an expression that goes through every division of the text cannot be interrupted.
    code = f"from reginfo.sip.peers import Patterns; assert not Patterns([{pattern!r}]).match('sip:' + 'a' * 1020)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
