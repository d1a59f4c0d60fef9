"""No parser reads beyond its input, not even the NUL that usually follows it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer watches the same octets")
def test_no_prefix_is_read_beyond_its_end() -> None:
    """SEC-5: see guard_page; a child process, because the failure is a segmentation fault."""
    root = Path(__file__).parent.parent.parent
    result = subprocess.run(
        [sys.executable, "-m", "tests.fast.guard_page"], cwd=root, capture_output=True, text=True, timeout=300
    )
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr
