"""The page about reginfo.fast is true: its examples are run, and every public name is reachable."""

import doctest
from pathlib import Path

import reginfo.fast

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fast.md"


def test_examples_of_the_page() -> None:
    failures, examples = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert examples > 20
    assert failures == 0


def test_public_names_are_there_once() -> None:
    assert len(set(reginfo.fast.__all__)) == len(reginfo.fast.__all__)
    assert all(hasattr(reginfo.fast, name) for name in reginfo.fast.__all__)
