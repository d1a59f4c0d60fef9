"""The root package: what it offers, and that it loads nothing until asked."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import reginfo
from reginfo.config import Config, load_config


def test_version_is_that_of_the_distribution() -> None:
    assert reginfo.__version__ == version("reginfo")


def test_names_come_from_their_rooms_on_first_use() -> None:
    assert reginfo.Config is Config
    assert reginfo.load_config is load_config
    assert {"Config", "Server", "load_config", "__version__"} <= set(dir(reginfo))


def test_a_name_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = reginfo.nothing


def test_import_loads_nothing_of_the_project() -> None:
    code = "import sys, reginfo; print(*[name for name in sys.modules if name.startswith('reginfo.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
