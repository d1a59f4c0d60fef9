"""The public names of reginfo and reginfo.fast as Markdown: signatures from stubs, words from docstrings."""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final

import reginfo
import reginfo.fast
from reginfo.server.location import LocationService

ROOT: Final = Path(__file__).resolve().parent.parent

MAX_SIGNATURE: Final = 100  # beyond it each parameter has a line


def names_of_reginfo() -> Iterator[str]:
    """The names of the package, and the location service that Server.location is."""
    for name in sorted(reginfo.__all__, key=str.lower):
        value = getattr(reginfo, name)
        if name == "__version__":
            yield f"### {name}\n\nVersion of the package, as text."
        elif name == "KEEP":
            yield f"### {name}\n\nWhat `on_request` returns that sees to a request itself."
        elif name == "Config":
            yield f"### {name}\n\n{_doc(value)} Its fields are the [keys](reference-configuration.md)."
        elif name != "Outcome":
            yield from _described(name, value, _definition(value), "###")
    yield "`Outcome` is [that of reginfo.fast](#outcome)."
    yield from _described("LocationService", LocationService, _definition(LocationService), "###")


def names_of_fast() -> Iterator[str]:
    """Classes and functions in the order of the alphabet, then the constants."""
    constants = []
    for name in sorted(reginfo.fast.__all__, key=str.lower):
        value = getattr(reginfo.fast, name)
        if inspect.isclass(value) or callable(value):
            yield from _described(name, value, _definition(value), "###")
        else:
            constants.append((f"`{name}`", f"`{value!r}`" if isinstance(value, int | bytes | str) else "", _home(name)))
    yield "### Constants"
    yield "\n".join(["| name | value | of |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in constants)])


def _described(name: str, value: object, node: ast.AST, level: str) -> Iterator[str]:
    yield f"{level} {name}"
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield f"```text\n{_signature(name, node, method=False)}\n```"
            yield _doc(value)
        case ast.ClassDef():
            yield _doc(value)
            yield from _members(name, value, node)


def _members(owner: str, cls: object, node: ast.ClassDef) -> Iterator[str]:
    attributes = []
    methods = []
    for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
        match statement:
            case ast.FunctionDef(name="__init__") if not ast.unparse(statement.args).startswith("self, *args: object"):
                yield f"```text\n{_signature(owner, statement, method=True)}\n```"
                if documented := _doc_of_node(statement):
                    yield documented
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if not name.startswith("_"):
                documented = _doc(getattr(cls, name)) or _doc_of_node(statement)
                if any("property" in ast.unparse(one) for one in statement.decorator_list):
                    attributes.append((name, ast.unparse(statement.returns) if statement.returns else "", documented))
                else:
                    methods.append((_signature(name, statement, method=True), documented))
            case ast.AnnAssign(target=ast.Name(id=name)) if not name.startswith("_"):
                match following:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        documented = text
                    case _:
                        documented = _doc(getattr(cls, name, None))
                attributes.append((name, ast.unparse(statement.annotation), documented))
    if attributes:
        rows = [f"| `{name}` | `{_cell(kind)}` | {_cell(documented)} |" for name, kind, documented in attributes]
        yield "\n".join(["| attribute | type | |", "|---|---|---|", *rows])
    for signature, documented in methods:
        yield f"```text\n{signature}\n```\n\n{documented}"


def _signature(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, *, method: bool) -> str:
    """Return a call as it is written, each parameter in a line of its own if one line is too narrow."""
    arguments = node.args
    if method and not any(ast.unparse(one) == "staticmethod" for one in node.decorator_list):
        first = arguments.posonlyargs or arguments.args
        del first[0]
    end = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    start = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    listed = re.sub(r"(?<=[\w\])])=(?=\S)", " = ", ast.unparse(arguments))
    line = f"{start}{name}({listed}){end}"
    if len(line) <= MAX_SIGNATURE:
        return line
    parts = re.split(r", (?![^\[(]*[\])])", listed)
    return "\n".join([f"{start}{name}(", *(f"    {part}," for part in parts), f"){end}"])


def _doc(value: object) -> str:
    """Return a docstring; of compiled functions without the signature that stands in front."""
    text = inspect.getdoc(value) or ""
    if isinstance(value, int | str | bytes | tuple | type(None)):
        return ""
    return re.sub(r"\A\w[\w.]*\(.*?\)(?: -> .+)?\n\s*", "", text) if re.match(r"\w[\w.]*\(", text) else text


def _doc_of_node(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return ast.get_docstring(node) or ""


@cache
def _home(name: str) -> str:
    """Return the extension that a name of reginfo.fast comes from."""
    text = Path(inspect.getfile(reginfo.fast)).read_text("utf-8")
    found = re.search(rf"from reginfo\._fast\.(\w+) import (?:\([^)]*\b{name}\b[^)]*\)|[^(\n]*\b{name}\b)", text)
    assert found is not None, name
    return found[1]


def _definition(value: object) -> ast.AST:
    """Return where a class or function is written with its types: the stub if it is compiled."""
    name = getattr(value, "__name__", "")
    module = getattr(value, "__module__", "")
    folder, _, leaf = module.rpartition(".")
    if folder == "reginfo._fast":
        stub = ROOT / "src" / "_fast" / f"{leaf}.pyi"
        path = stub if stub.exists() else stub.with_suffix(".py")
    else:
        path = Path(inspect.getfile(import_module(module)))
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return node
    raise LookupError(f"{name} is not in {path}")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
