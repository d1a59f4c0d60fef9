"""Write docs/reference-*.md from the code: every key, command, method and public name.

    python -m tests.reference_pages          (make reference)

What a page says of something is the docstring of that thing, so a page is corrected there.
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final, get_type_hints

import click
import msgspec

from reginfo.admin import rpc
from reginfo.cli import COMMANDS, root
from reginfo.config import sections
from reginfo.config.section import Section
from tests.reference_names import names_of_fast, names_of_reginfo

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"


def configuration() -> Iterator[str]:
    """Every key, with what it may be and its default."""
    yield "# Configuration keys"
    yield (
        "What each key means at length, and how the sources of values override each other, is in "
        "[configuration.md](configuration.md). `REGINFO_REGISTRAR__MAX_EXPIRES` is the environment variable of "
        "`registrar.max_expires`, and so on."
    )
    hints = get_type_hints(sections.Config)
    yield from _section(sections.Config, [name for name in hints if _section_of(hints[name]) is None])
    for name, hint in hints.items():
        if (section := _section_of(hint)) is not None:
            table = f"[[{name}]]" if section is not hint else f"[{name}]"
            yield f"## {table}"
            yield inspect.cleandoc(section.__doc__ or "")
            yield from _section(section, list(get_type_hints(section)))


def _section_of(hint: object) -> type[Section] | None:
    """Return the section that a field of Config holds, once or in a list."""
    kind = msgspec.inspect.type_info(hint)
    if isinstance(kind, msgspec.inspect.VarTupleType):
        kind = kind.item_type
    cls = getattr(kind, "cls", None)
    return cls if isinstance(cls, type) and issubclass(cls, Section) else None


def _section(section: type[Section], names: list[str]) -> Iterator[str]:
    meanings = docstrings(section)
    hints = get_type_hints(section, include_extras=True)
    defaults = {field.name: field.default for field in msgspec.structs.fields(section)}
    rows = []
    for name in names:
        default = "required" if defaults[name] is msgspec.NODEFAULT else f"`{_toml(defaults[name])}`"
        if name not in meanings:
            raise LookupError(f"{section.__name__}.{name} has no docstring that says what it means")
        rows.append((f"`{name}`", _allowed(hints[name]), default, meanings[name]))
    yield _table(["key", "allowed", "default", "meaning"], rows)


def _toml(value: object) -> str:
    return "unset" if value is None else json.dumps(value)


def _allowed(annotation: object) -> str:
    """Say what a value may be."""
    return _kind(msgspec.inspect.type_info(annotation))


def _kind(kind: msgspec.inspect.Type) -> str:
    match kind:
        case msgspec.inspect.BoolType():
            return "true, false"
        case msgspec.inspect.IntType(ge=low, gt=above, le=high, lt=below):
            return _range(low, above, high, below) or "integer"
        case msgspec.inspect.FloatType(ge=low, gt=above, le=high, lt=below):
            return _range(low, above, high, below) or "number"
        case msgspec.inspect.LiteralType(values=values):
            return ", ".join(f"`{json.dumps(value)}`" for value in sorted(values, key=str))
        case msgspec.inspect.VarTupleType(item_type=item) | msgspec.inspect.ListType(item_type=item):
            return f"list of {_kind(item)}".replace("list of list", "list of lists").replace("text", "texts")
        case msgspec.inspect.UnionType(types=types):
            return ", ".join(_kind(one) for one in types if not isinstance(one, msgspec.inspect.NoneType))
        case msgspec.inspect.StrType():
            return "text"
        case msgspec.inspect.Metadata(type=inner):
            return _kind(inner)
        case _:
            return "object"


def _range(low: float | None, above: float | None, high: float | None, below: float | None) -> str:
    lowest = low if above is None else above + 1
    highest = high if below is None else below - 1
    return "" if lowest is None and highest is None else f"{lowest:,} to {highest:,}"


@cache
def docstrings(section: type) -> dict[str, str]:
    """Return field -> the string behind it, in a class and those it is made of."""
    found: dict[str, str] = {}
    for base in reversed(section.__mro__[:-1]):
        if base.__module__.startswith("reginfo"):
            [body] = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            assert isinstance(body, ast.ClassDef)
            for statement, following in zip(body.body, body.body[1:], strict=False):
                match statement, following:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        found[name] = " ".join(text.split())
    return found


def commands() -> Iterator[str]:
    """Every command with its usage, arguments and options, as its --help has them."""
    yield "# Commands"
    yield (
        "What each command is for, exit codes and the keys of `--json` are in [command-line.md](command-line.md). "
        "Here is what `--help` says."
    )
    context = click.Context(root, info_name="reginfo")
    for name in COMMANDS:
        command = root.get_command(context, name)
        assert command is not None
        yield from _command(command, click.Context(command, info_name=name, parent=context), 2)


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}"
    if isinstance(command, click.Group):
        yield _prose(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _command(below, click.Context(below, info_name=name, parent=context), level + 1)
        return
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```"
    yield _prose(command)
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and "--help" not in record[0]:
            rows.append((f"`{_in_cell(record[0])}`", _in_cell(record[1])))
    if rows:
        yield _table(["option", "meaning"], rows)


def _prose(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").replace("\b\n", "").replace("*", r"\*")


def methods() -> Iterator[str]:
    """Every method of JSON-RPC, with its parameters in the order of their positions."""
    yield "# JSON-RPC methods"
    yield (
        "The same over the control socket and `POST /RPC`; framing, field names and errors are in "
        "[command-line.md](command-line.md#json-rpc-20-over-the-control-socket). "
        "Parameters are given by position or by name."
    )
    handlers = _handlers()
    for name in sorted(handlers):
        yield f"## {name}"
        handler = handlers[name]
        if not handler.__doc__:
            raise LookupError(f"{handler.__qualname__} has no docstring that says what {name} does")
        yield inspect.cleandoc(handler.__doc__)
        arguments = re.search(r"_arguments\(params, (\w+)\)", inspect.getsource(handler))
        assert arguments is not None, name
        struct = getattr(rpc, arguments[1])
        hints = get_type_hints(struct, include_extras=True)
        rows = []
        for field in msgspec.structs.fields(struct):
            default = "required" if field.default is msgspec.NODEFAULT else f"`{json.dumps(field.default)}`"
            rows.append((f"`{field.name}`", _allowed(hints[field.name]), default))
        if rows:
            yield _table(["parameter", "allowed", "default"], rows)


def _handlers() -> dict[str, Callable[..., object]]:
    """Return the methods of a server that is nobody's: only their code is read."""
    server = rpc.Rpc.__new__(rpc.Rpc)
    return dict(server.methods())


def python() -> Iterator[str]:
    """Every public name of reginfo and reginfo.fast."""
    yield "# Python API"
    yield (
        "`reginfo` is the server inside a program ([how to embed it](python.md)), `reginfo.fast` the parsers and "
        "writers without one ([with examples](fast.md)). Other modules are not public."
    )
    yield "## reginfo"
    yield from names_of_reginfo()
    yield "## reginfo.fast"
    yield from names_of_fast()


def _table(head: list[str], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _in_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


PAGES: Final = {
    "reference-configuration.md": configuration,
    "reference-cli.md": commands,
    "reference-rpc.md": methods,
    "reference-python.md": python,
}

NOTE: Final = "<!-- Written by `make reference` from the code: correct its docstrings, not this page. -->"


def written(page: str) -> str:
    """Return a page as it should be."""
    title, *rest = PAGES[page]()
    return "\n\n".join([title, NOTE, *rest]) + "\n"


if __name__ == "__main__":
    for page in PAGES:
        (DOCS / page).write_text(written(page), "utf-8")
