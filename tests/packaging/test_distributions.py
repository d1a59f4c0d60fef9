"""What a user installs: sdist, wheel made from it, editable install, and stubs that tell the truth about the wheel."""

import re
import signal
import socket
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.packaging.conftest import environment, install, run

ALLOWLIST = ROOT / "tests" / "typing" / "allowlist.txt"
EXTENSIONS = sorted(path.stem for path in (ROOT / "src" / "_fast").glob("*.pyx"))

REGISTER = (
    b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1;rport\r\n"
    b"To: <sip:alice@example.com>\r\nFrom: <sip:alice@example.com>;tag=1\r\nCall-ID: 1@127.0.0.1\r\n"
    b"CSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nContact: <sip:alice@127.0.0.1:5070>\r\nContent-Length: 0\r\n\r\n"
)
MAX_WHEEL = 4 << 20  # octets; docs/install.md says what all of an installation takes

pytestmark = pytest.mark.packaging


def test_sdist_ships_what_is_under_version_control(sdist: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this tree is no checkout")
    known = set(run("git", "ls-files", cwd=ROOT).splitlines())
    ours = {".ci/run", ".gitattributes"} | {name for name in known if Path(name).name == ".gitignore"}
    ours |= {name for name in known if name.startswith(".github/")}
    made = {"PKG-INFO", "setup.cfg"}
    with tarfile.open(sdist) as archive:
        files = {member.name.partition("/")[2] for member in archive if member.isfile()}
    shipped = {name for name in files if ".egg-info/" not in name}
    assert shipped - made == known - ours


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
    assert not [name for name in fast if name.endswith(".html")]


def test_only_reginfo_is_installed_at_top_level(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == {"reginfo"}


def test_wheel_has_the_manual_page(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert [name for name in archive.namelist() if name.endswith(".data/data/share/man/man1/reginfo.1")]


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith("reginfo/_fast/")}
    tree = {path for path in (ROOT / "src" / "reginfo").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    wanted = {path.relative_to(ROOT / "src").as_posix() for path in tree}
    assert "reginfo/py.typed" in wanted
    assert wanted == {name for name in names if name.startswith("reginfo/")}


def test_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        said = message_from_bytes(archive.read(name))
        files = {Path(name).name for name in archive.namelist()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (said["Name"], said["Version"]) == ("reginfo", project["version"])
    assert said["License-Expression"] == "MIT"
    assert "LICENSE" in files
    assert said["Summary"] == project["description"]
    assert said["Requires-Python"] == ">=3.11"
    assert said.get_all("Classifier") == project["classifiers"]
    assert set(said.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    assert said.get_payload() == (ROOT / "README.md").read_text()


def test_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < MAX_WHEEL


def test_installed_wheel_works_by_itself(installed: Path, tmp_path: Path) -> None:
    where = run(
        installed, "-c", "import reginfo.fast as f; print(f.parse_message.__module__, f.__file__)", cwd=tmp_path
    )
    module, path = where.split()
    assert module.startswith("reginfo._fast.")
    assert Path(path).is_relative_to(installed.parent.parent)
    assert "serve" in run(installed.parent / "reginfo", "--help", cwd=tmp_path)
    # The same file that cibuildwheel runs after each build.
    assert run(installed, Path(__file__).with_name("smoke.py"), cwd=tmp_path) == ""


@pytest.mark.network
def test_installed_wheel_registers_a_phone(installed: Path, tmp_path: Path) -> None:
    command = [str(installed.parent / "reginfo"), "serve", "--listen", "udp:127.0.0.1:0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            listening = next(line for line in server.stdout if "listening" in line)
            (port,) = re.findall(r"udp:127\.0\.0\.1:(\d+)", listening)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
                phone.settimeout(10)
                phone.sendto(REGISTER, ("127.0.0.1", int(port)))
                assert phone.recv(65_535).startswith(b"SIP/2.0 200 ")
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
        finally:
            server.kill()


def test_cibuildwheel_builds_for_the_supported_pythons_and_both_kinds_of_linux(tmp_path: Path) -> None:
    """It is asked itself: what its configuration selects is not to be guessed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = sorted(re.findall(r":: 3\.(\d+)", " ".join(project["classifiers"])))
    for machine in ("x86_64", "aarch64"):
        command = (sys.executable, "-m", "cibuildwheel", "--platform", "linux", "--archs", machine)
        listed = run(*command, "--print-build-identifiers", cwd=ROOT).split()
        assert sorted(listed) == sorted(
            f"cp3{minor}-{kind}_{machine}" for minor in supported for kind in ("manylinux", "musllinux")
        )


def test_stubs_agree_with_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    # Only _fast has stubs; elsewhere the annotations are the code.
    command = (installed, "-m", "mypy.stubtest", "reginfo._fast", "--allowlist", ALLOWLIST, "--concise")
    run(*command, "--mypy-config-file", ROOT / "pyproject.toml", cwd=tmp_path)


def test_every_exemption_from_the_stub_check_has_its_reason() -> None:
    for line in filter(None, map(str.strip, ALLOWLIST.read_text("utf-8").splitlines())):
        assert line.startswith("#") or " # " in line, line


def test_editable_install_follows_the_tree(unpacked: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "environment")
    install(python, "--editable", unpacked, cwd=tmp_path, REGINFO_DEBUG="1")
    program = "import reginfo, reginfo.fast as f, reginfo._fast.uri as u; print(reginfo.__file__, u.__file__)"
    package, extension = map(Path, run(python, "-c", program, cwd=tmp_path).split())
    assert package == unpacked / "src" / "reginfo" / "__init__.py"
    assert extension.is_relative_to(unpacked / "build")


def test_building_leaves_nothing_in_the_sources(unpacked: Path, wheel: Path) -> None:
    assert wheel.exists()
    left = [path.name for path in (unpacked / "src").rglob("*") if path.suffix in {".c", ".so", ".o"}]
    left += [path.name for path in (unpacked / "src" / "_fast").glob("*.html")]
    assert not left
