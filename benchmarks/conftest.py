"""Benchmarks refuse to measure what is not shipped, and record what they ran on."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import reginfo._fast

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Refuse traced, debug and sanitized builds: their figures mean nothing."""
    built = Path(reginfo._fast.__file__).resolve().parent
    for kind in ("trace", "debug", "sanitize"):
        if (ROOT / "build") in built.parents and kind in built.relative_to(ROOT / "build").parts[0].split("-"):
            pytest.exit(f"benchmarks need a normal build, this one is {kind}: {built}", returncode=2)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Add what a figure depends on: compiler side, load and frequency policy of the machine."""
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    machine_info["reginfo"] = {
        "cython": version("cython"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "governor": governor.read_text().strip() if governor.exists() else "unknown",
        "commit": subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip(),
    }
