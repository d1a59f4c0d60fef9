"""Who may import whom: the table below is the architecture, and anything else fails.

Rooms are the top-level modules and packages of reginfo; ``_fast`` is the compiled one.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parent.parent / "src"
PACKAGE = SRC / "reginfo"
FAST = SRC / "_fast"

ROOMS: dict[str, set[str]] = {
    "fast": {"_fast"},
    "errors": {"fast"},
    "config": {"fast", "errors"},
    "model": {"fast", "errors"},
    "sip": {"model", "fast", "errors", "config"},
    "roles": {"sip", "model", "fast", "errors", "config"},
    "engine": {"sip", "roles", "model", "fast", "errors", "config"},
    "store": {"model", "fast", "errors", "config"},
    "net": {"model", "fast", "errors", "config"},
    "admin": {"model", "fast", "errors", "config"},
}
ROOMS["server"] = {"engine", "sip", "roles", "store", "net", "admin", "model", "fast", "errors", "config"}
ROOMS["cli"] = {"server", *ROOMS["server"]}
ROOMS["__main__"] = {"cli"}

# Clocks, randomness, threads and I/O are arguments everywhere else.
EDGES = {"net", "store", "admin", "server", "cli"}
EDGE_ONLY = {"asyncio", "random", "secrets", "socket", "threading", "time", "uvloop"}


def _room(module: str) -> str:
    """Return the room of a dotted name inside reginfo, "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def _imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Yield the absolute dotted names that a syntax tree imports, functions included."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _modules() -> list[tuple[str, Path]]:
    """Return the dotted name and path of every module under src/reginfo."""
    return [
        (".".join(["reginfo", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"), path)
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


MODULES = [pytest.param(name, path, id=name) for name, path in _modules() if name != "reginfo"]


@pytest.mark.parametrize(("module", "path"), MODULES)
def test_module_imports_only_rooms_below_its_own(module: str, path: Path) -> None:
    room = _room(module)
    assert room in ROOMS, f"{module} belongs to no room of the architecture"
    tree = ast.parse(path.read_text("utf-8"))
    for name in _imports(tree, module, path.name == "__init__.py"):
        if name.split(".")[0] == "reginfo" and _room(name) not in (room, "__version__"):
            assert _room(name) in ROOMS[room], f"{module} imports {name}"


@pytest.mark.parametrize(("module", "path"), [case for case in MODULES if _room(str(case.values[0])) == "roles"])
def test_roles_never_import_each_other(module: str, path: Path) -> None:
    role = module.split(".")[2:3]
    for name in _imports(ast.parse(path.read_text("utf-8")), module, path.name == "__init__.py"):
        if _room(name) == "roles":
            assert name.split(".")[2:3] == role, f"{module} imports {name}"


@pytest.mark.parametrize(("module", "path"), MODULES)
def test_clocks_randomness_and_io_stay_at_the_edges(module: str, path: Path) -> None:
    if _room(module) not in EDGES:
        tree = ast.parse(path.read_text("utf-8"))
        found = {name.split(".")[0] for name in _imports(tree, module, path.name == "__init__.py")} & EDGE_ONLY
        assert not found, f"{module} imports {', '.join(sorted(found))}"


@pytest.mark.parametrize(("module", "path"), MODULES)
def test_only_the_edges_await(module: str, path: Path) -> None:
    if _room(module) not in EDGES:
        awaiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
        tree = ast.parse(path.read_text("utf-8"))
        protocols = {
            method
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "Protocol" for base in node.bases)
            for method in ast.walk(node)
        }
        assert not [node.lineno for node in ast.walk(tree) if isinstance(node, awaiting) and node not in protocols]


@pytest.mark.parametrize("path", sorted(FAST.glob("*.p*")), ids=lambda path: path.name)
def test_compiled_room_imports_nothing_else_of_the_project(path: Path) -> None:
    statement = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", re.MULTILINE)
    for match in statement.finditer(path.read_text("utf-8")):
        name = match[1] or match[2]
        top = name.split(".")[0]
        if top == "reginfo":
            assert _room(name) == "_fast", f"{path.name} imports {name}"
        else:
            allowed = sys.stdlib_module_names | {"", "cpython", "cython", "libc", "lxml", "numpy", "posix"}
            assert top in allowed - EDGE_ONLY, f"{path.name} imports {name}"


def test_package_root_imports_nothing_eagerly() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    eager = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    assert not [name for name in _imports(eager, "reginfo", True) if name.split(".")[0] == "reginfo"]


def _loaded_by(statement: str) -> set[str]:
    """Return the modules that a statement adds to a fresh interpreter."""
    program = (
        f"import json, sys; before = set(sys.modules); {statement}; print(json.dumps([*set(sys.modules) - before]))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded: list[str] = json.loads(run.stdout)
    return set(loaded)


def test_fast_loads_without_event_loop_sockets_configuration_or_database() -> None:
    loaded = _loaded_by("import reginfo.fast")
    unwanted = EDGE_ONLY | {"lxml", "msgspec", "numpy", "rocksdict", "sqlite3", "ssl"}
    assert not {name for name in loaded if name.split(".")[0] in unwanted}
    assert {name for name in loaded if name.startswith("reginfo.")} <= {
        "reginfo.fast",
        "reginfo._fast",
        "reginfo._fast.errors",
        *(f"reginfo._fast.{path.stem}" for path in FAST.glob("*.pyx")),
    }


def test_package_root_loads_nothing_of_itself() -> None:
    assert not {name for name in _loaded_by("import reginfo") if name.startswith("reginfo.")}
