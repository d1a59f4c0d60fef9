"""Every example of README and docs/ runs, and says what the page shows.

What the languages of fenced blocks mean here:

    console   `$ ` begins a command, what follows is its output; `...` is anything.  Servers go on in the background
    output    more output of a command that goes on
    bash      commands, without their output
    toml      a configuration that `reginfo serve --check-config` takes; with `# NAME.toml` in front also that file
    python    a program: with `# NAME.py` in front that file, else run at once; its output is the next `output`
    pycon     doctest

Anything else is shown and not run, and holds no command; it may be a file, too.  A block with
`<!-- not run: REASON -->` above it is not run.
"""

import doctest
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.certificates import Authority
from tests.conftest import ROOT
from tests.docs.blocks import Block, Step, blocks, pages, steps
from tests.docs.session import NoNetwork, Session, difference, has, same

MAX_NOT_RUN: Final = 15
"Blocks of all pages that are not run."

COMMANDS: Final = ("console", "bash")
SHOWN: Final = ("text", "xml", "json", "ini", "kamailio")

PAGES: Final = pages()
BLOCKS: Final = {page: list(blocks(page)) for page in PAGES}

pytestmark = pytest.mark.network


def run_target() -> str:
    """Return what `make run` ends in; the building before it is the whole suite's."""
    recipe = re.search(
        r"^run:.*\n\t@?(?:exec )?\$\(BIN\)/(reginfo serve.*)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert recipe is not None
    return recipe[1]


def is_run(block: Block) -> bool:
    return not block.not_run and block.language != "pycon" and (block.language not in SHOWN or bool(block.file))


@pytest.mark.parametrize("page", [page for page in PAGES if any(map(is_run, BLOCKS[page]))], ids=lambda page: page.name)
def test_examples_of(page: Path, tmp_path: Path) -> None:
    wanted = [block for block in BLOCKS[page] if is_run(block)]
    commands = [step.command for one in wanted if one.language in COMMANDS for step in steps(one)]
    for program in ("kamailio", "sipp"):
        if any(command.startswith(f"{program} ") for command in commands) and not has(program):
            pytest.skip(f"{program} is not installed")
    try:
        session = Session(tmp_path)
    except NoNetwork as reason:
        pytest.skip(f"no network namespace of one's own: {reason}")
    with session:
        pending = ""
        for block in wanted:
            try:
                pending = _run(session, block, pending)
            except AssertionError as error:
                raise AssertionError(f"{block.where}: {error}") from None


def _run(session: Session, block: Block, said: str) -> str:
    """Run a block; return what a program of it has said, for the `output` behind it."""
    if block.file:
        (session.folder / block.file).write_text(_with_certificates(session, block))
    match block.language:
        case "console" | "bash":
            for step in steps(block):
                _run_step(session, step)
        case "output":
            if said:
                assert same(block.text, said), difference("python", block.text, said)
            else:
                session.later(block.text)
        case "toml":
            check(session, block)
        case "python" if not block.file:
            return _program(session, block)
        case "python":
            compile(block.text, block.where, "exec")
        case language if language not in SHOWN:
            raise AssertionError(f"{language or 'no language'}: mark the block `text` if it shows something")
    return ""


def _run_step(session: Session, step: Step) -> None:
    try:
        session.run(step.command.replace("make run", run_target()), step.shown)
    except AssertionError as error:
        raise AssertionError(f"line {step.line}: {error}") from None


def _program(session: Session, block: Block) -> str:
    path = session.folder / ".program.py"
    path.write_text(block.text)
    done = subprocess.run(
        session.inside([sys.executable, path.name]),
        cwd=session.folder,
        env=session.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(session: Session, block: Block) -> None:
    """Check a configuration in a folder with users, of whom other pages speak, and the secrets of this one."""
    folder = session.folder / ".check"
    if not folder.exists():
        folder.mkdir()
        session.run("cd .check && echo secret | reginfo user add alice --password-stdin", "")
    for secret in session.folder.glob("*.secret"):
        shutil.copy(secret, folder)
    (folder / "reginfo.toml").write_text(_with_certificates(session, block))
    session.run("cd .check && reginfo serve --check-config", "reginfo.toml: ok")


def _with_certificates(session: Session, block: Block) -> str:
    """Return a configuration whose files in /etc/reginfo are elsewhere, and there."""
    folder = session.folder / ".certificates"
    names = re.findall(r'"/etc/reginfo/([\w.-]+)"', block.text)
    if names and not folder.exists():
        folder.mkdir()
        Authority(folder).certify("example.com", "DNS:example.com")
    for name in names:
        both = [(folder / f"example.com.{kind}").read_text() for kind in ("pem", "key")]
        if not (folder / name).exists():
            (folder / name).write_text("".join(both))
    return block.text.replace("/etc/reginfo/", f"{folder}/")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_is_shown_that_could_be_run(page: Path) -> None:
    for block in BLOCKS[page]:
        if block.language in SHOWN:
            assert not re.search(r"^(\$ |>>> |(\S+/)?reginfo \w+ )", block.text, re.MULTILINE), block.where


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(block.language == "pycon" for block in BLOCKS[page])],
    ids=lambda page: page.name,
)
def test_interpreter_sessions_of(page: Path) -> None:
    failures, examples = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert examples > 3
    assert failures == 0


def test_few_blocks_are_not_run() -> None:
    not_run = [f"{block.where}: {block.not_run}" for page in PAGES for block in BLOCKS[page] if block.not_run]
    assert len(not_run) <= MAX_NOT_RUN, not_run


def test_every_block_has_a_fence() -> None:
    """An indented block would be neither shown with its language nor run."""
    for page in PAGES:
        if page.name == "install.md":
            continue  # its commands are indented, and run in tests/packaging
        fenced = re.sub(r"^( *)```.*?^ *```", "-", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        assert not re.search(r"(?:\A|\n\n) {4}(?![*-] |\d+\. )\S", fenced), page.name
