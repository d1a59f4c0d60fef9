"""What a user installs, built once: sdist, wheel made from it, and an environment with that wheel.

Everything is built in a copy outside the tree, from the sdist, so that a file missing there is noticed.  The
environments are empty but for the distribution; a path file lends them the dependencies of the running one.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT

EPOCH = "1700000000"
"What every file in a distribution is dated, so that its hash is that of its content."


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command outside the influence of the running environment; its output is the message of a failure."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "REGINFO_"))}
    run = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, f"{command}\n{run.stdout[-4000:]}"
    return run.stdout


def environment(folder: Path) -> Path:
    """Make an environment that sees the dependencies, but not reginfo, and return its interpreter."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    lent = [path for path in sys.path if path.endswith("-packages") and Path(path).is_dir()]
    # Plain lines only add to sys.path: the hooks of an editable reginfo in those folders are not run.
    Path(site, "lent.pth").write_text("\n".join(lent) + "\n")
    return python


def install(python: Path, *what: str | Path, cwd: Path, **environment: str) -> None:
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--no-deps", "--no-build-isolation", "--ignore-installed", *what, cwd=cwd, **environment)


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of the tree."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", folder, ROOT, cwd=folder)
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="session")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source tree that holds exactly what the sdist ships."""
    folder = tmp_path_factory.mktemp("unpacked")
    run("tar", "-xzf", sdist, cwd=folder)
    (tree,) = folder.iterdir()
    return tree


@pytest.fixture(scope="session")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the sdist."""
    folder = tmp_path_factory.mktemp("wheel")
    command = (sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, unpacked)
    run(*command, cwd=folder, SOURCE_DATE_EPOCH=EPOCH)
    (archive,) = folder.glob("*.whl")
    return archive


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that the wheel is installed in."""
    folder = tmp_path_factory.mktemp("installed")
    python = environment(folder)
    install(python, wheel, cwd=folder)
    return python
