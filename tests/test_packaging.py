"""What a user installs: sdist, wheel made from it, editable install, and stubs that tell the truth about the wheel.

Everything is built in a copy outside the tree, from the sdist, so that a file missing there is noticed.  The
environments are empty but for the distribution; a path file lends them the dependencies of the running one.
"""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWLIST = ROOT / "tests" / "typing" / "allowlist.txt"
EXTENSIONS = sorted(path.stem for path in (ROOT / "src" / "_fast").glob("*.pyx"))

pytestmark = pytest.mark.packaging


def _run(*command: str | Path, cwd: Path, **environment: str) -> str:
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


def _environment(folder: Path) -> Path:
    """Make an environment that sees the dependencies, but not reginfo, and return its interpreter."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    site = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    lent = [path for path in sys.path if path.endswith("-packages") and Path(path).is_dir()]
    # Plain lines only add to sys.path: the hooks of an editable reginfo in those folders are not run.
    Path(site, "lent.pth").write_text("\n".join(lent) + "\n")
    return python


def _install(python: Path, *what: str | Path, cwd: Path, **environment: str) -> None:
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet")
    _run(*pip, "--no-deps", "--no-build-isolation", "--ignore-installed", *what, cwd=cwd, **environment)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of the tree."""
    folder = tmp_path_factory.mktemp("sdist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", folder, ROOT, cwd=folder)
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source tree that holds exactly what the sdist ships."""
    folder = tmp_path_factory.mktemp("unpacked")
    _run("tar", "-xzf", sdist, cwd=folder)
    (tree,) = folder.iterdir()
    return tree


@pytest.fixture(scope="module")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the sdist."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, unpacked, cwd=folder)
    (archive,) = folder.glob("*.whl")
    return archive


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that the wheel is installed in."""
    folder = tmp_path_factory.mktemp("installed")
    python = _environment(folder)
    _install(python, wheel, cwd=folder)
    return python


def test_sdist_ships_sources_and_no_products(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert not [name for name in names if name.endswith((".c", ".so")) or name.startswith("build/")]
    assert not [name for name in names if name.startswith("src/_fast/") and name.endswith(".html")]
    shipped = {Path(name).name for name in names if name.startswith("src/_fast/")}
    assert shipped >= {path.name for path in (ROOT / "src" / "_fast").iterdir() if path.is_file()}
    assert {"LICENSE", "README.md", "Makefile", "tests/conftest.py", "docs/design.md"} <= set(names)


def test_wheel_holds_extensions_stubs_and_shared_declarations(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    fast = {name.partition("/")[2].removeprefix("_fast/") for name in names if name.startswith("reginfo/_fast/")}
    sources = {path.name for path in (ROOT / "src" / "_fast").iterdir() if path.suffix in {".py", ".pyi", ".pxd"}}
    assert fast >= sources
    for extension in EXTENSIONS:
        assert f"{extension}.pyi" in fast
        assert [name for name in fast if name.startswith(f"{extension}.") and name.endswith(".so")]
    assert not [name for name in names if name.endswith((".c", ".pyx"))]
    page = {f"reginfo/admin/dashboard/{path.name}" for path in (ROOT / "src/reginfo/admin/dashboard").iterdir()}
    assert page == {name for name in names if name.startswith("reginfo/admin/dashboard/") or name.endswith(".html")}


def test_only_reginfo_is_installed_at_top_level(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == {"reginfo"}


def test_wheel_has_the_manual_page(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert [name for name in archive.namelist() if name.endswith(".data/data/share/man/man1/reginfo.1")]


def test_every_package_of_the_tree_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tree = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "reginfo").rglob("*.py")}
    assert not tree - names


def test_installed_wheel_works_by_itself(installed: Path, tmp_path: Path) -> None:
    where = _run(
        installed, "-c", "import reginfo.fast as f; print(f.parse_message.__module__, f.__file__)", cwd=tmp_path
    )
    module, path = where.split()
    assert module.startswith("reginfo._fast.")
    assert Path(path).is_relative_to(installed.parent.parent)
    script = installed.parent / "reginfo"
    assert "serve" in _run(script, "--help", cwd=tmp_path)


def test_stubs_agree_with_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    # Only _fast has stubs; elsewhere the annotations are the code.
    command = (installed, "-m", "mypy.stubtest", "reginfo._fast", "--allowlist", ALLOWLIST, "--concise")
    _run(*command, "--mypy-config-file", ROOT / "pyproject.toml", cwd=tmp_path)


def test_every_exemption_from_the_stub_check_has_its_reason() -> None:
    for line in filter(None, map(str.strip, ALLOWLIST.read_text("utf-8").splitlines())):
        assert line.startswith("#") or " # " in line, line


def test_editable_install_follows_the_tree(unpacked: Path, tmp_path: Path) -> None:
    python = _environment(tmp_path / "environment")
    _install(python, "--editable", unpacked, cwd=tmp_path, REGINFO_DEBUG="1")
    program = "import reginfo, reginfo.fast as f, reginfo._fast.uri as u; print(reginfo.__file__, u.__file__)"
    package, extension = map(Path, _run(python, "-c", program, cwd=tmp_path).split())
    assert package == unpacked / "src" / "reginfo" / "__init__.py"
    assert extension.is_relative_to(unpacked / "build")


def test_building_leaves_nothing_in_the_sources(unpacked: Path, wheel: Path) -> None:
    assert wheel.exists()
    left = [path.name for path in (unpacked / "src").rglob("*") if path.suffix in {".c", ".so", ".o"}]
    left += [path.name for path in (unpacked / "src" / "_fast").glob("*.html")]
    assert not left
