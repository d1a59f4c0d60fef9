"""`reginfo user`: who may register, in the database that auth.db_url names."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import click

from reginfo.cli import EXIT_FAILED, EXIT_NOT_FOUND, Failed, HelpfulGroup
from reginfo.cli._password import read_password, stdin_option
from reginfo.cli._remote import config_option, confirm, json_option, print_json, printable, utf8
from reginfo.cli._user_file import BadRow, rows_of
from reginfo.config import Config, load_config
from reginfo.store.credentials import open_database
from reginfo.store.ha1 import BadUser, checked_password, checked_username
from reginfo.store.users import User, Users

BATCH: Final = 1000  # users written at once: some 50 ms in which others wait for the lock

T = TypeVar("T")


@click.group(cls=HelpfulGroup)
def user() -> None:
    """Users with their passwords: the table `subscriber`."""


@user.command()
@click.argument("name", metavar="USER", callback=utf8)
@stdin_option
@config_option
def add(name: str, from_stdin: bool, file: Path | None) -> None:
    """Add USER, asking for the password; make the database if there is none.

    USER is written alice or alice@example.com.

    \b
    Examples:
      reginfo user add alice
      reginfo user add alice --password-stdin < secret
    """
    config = load_config(file).config
    username = _username(name, config)

    async def work(users: Users) -> None:
        if await users.find(username, config.auth.realm):
            raise Failed(f"{printable(name)} is there already; reginfo user passwd changes the password", EXIT_FAILED)
        await users.put([(username, read_password(from_stdin, confirm=True))], config.auth.realm)

    _with_users(config, work, create=True)
    click.echo(f"added {printable(name)}")


@user.command()
@click.argument("name", metavar="USER", callback=utf8)
@stdin_option
@config_option
def passwd(name: str, from_stdin: bool, file: Path | None) -> None:
    """Change the password of USER.

    \b
    Examples:
      reginfo user passwd alice
    """
    config = load_config(file).config
    username = _username(name, config)

    async def work(users: Users) -> None:
        await _existing(users, username, config)
        await users.put([(username, read_password(from_stdin, confirm=True))], config.auth.realm)

    _with_users(config, work)
    click.echo(f"changed {printable(name)}")


@user.command()
@click.argument("name", metavar="USER", callback=utf8)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@config_option
def rm(name: str, yes: bool, file: Path | None) -> None:
    """Remove USER; what is registered stays until it expires.

    \b
    Examples:
      reginfo user rm alice
    """
    config = load_config(file).config
    username = _username(name, config)
    confirm(f"Remove {printable(name)}?", yes)

    async def work(users: Users) -> None:
        await _existing(users, username, config)
        await users.remove(username, config.auth.realm)

    _with_users(config, work)
    click.echo(f"removed {printable(name)}")


@user.command()
@click.argument("name", metavar="USER", required=False, callback=utf8)
@json_option
@config_option
def show(name: str | None, as_json: bool, file: Path | None) -> None:
    """Show USER, or all: realm, and the algorithms there is a hash for.

    \b
    Examples:
      reginfo user show
      reginfo user show alice --json
    """
    config = load_config(file).config

    async def work(users: Users) -> None:
        if name is not None:
            _print(await _existing(users, _username(name, config), config), as_json)
            return
        async for one in users.all():
            _print(one, as_json)

    _with_users(config, work)


@user.command("import")
@click.argument("source", metavar="FILE|-", type=click.File("rb"))
@json_option
@config_option
def import_(source: BinaryIO, as_json: bool, file: Path | None) -> None:
    """Add the users of a CSV file as SIPp reads it (-inf); who is there already gets the new password.

    \b
    SEQUENTIAL
    alice;[authentication username=alice password=secret]
    bob;example.com;secret

    \b
    Examples:
      reginfo user import users.csv
    """
    config = load_config(file).config
    done = 0

    async def work(users: Users) -> None:
        nonlocal done
        batch: dict[str, str] = {}
        try:
            for row in rows_of(source):
                try:
                    batch[_username(row.user, config)] = checked_password(row.password)
                except (BadUser, click.BadParameter) as error:
                    raise BadRow(row.line, str(error)) from None
                if len(batch) == BATCH:
                    await users.put(list(batch.items()), config.auth.realm)
                    done += len(batch)
                    batch.clear()
        finally:
            # What stands before a bad row is good.
            if batch:
                await users.put(list(batch.items()), config.auth.realm)
                done += len(batch)

    try:
        _with_users(config, work, create=True)
    except BadRow as error:
        raise Failed(f"{printable(source.name)}: {error}; {_count(done)} before it", EXIT_FAILED) from None
    if as_json:
        print_json({"file": source.name, "imported": done})
    else:
        click.echo(_count(done))


def _count(users: int) -> str:
    return f"imported {users} user{'' if users == 1 else 's'}"


def _username(text: str, config: Config) -> str:
    """Return the digest user name of what was written: a domain that is the realm is no part of it."""
    user, at, domain = text.rpartition("@")
    if at and domain.lower() not in (config.auth.realm.lower(), *config.domains):
        raise click.BadParameter(
            f"{printable(domain)} is neither the realm {config.auth.realm} nor one of the domains served"
        )
    try:
        if not at or domain.lower() == config.auth.realm.lower():
            return checked_username(user if at else text)
        return checked_username(f"{user}@{domain.lower()}")
    except BadUser as error:
        raise click.BadParameter(str(error)) from None


async def _existing(users: Users, username: str, config: Config) -> User:
    found = await users.find(username, config.auth.realm)
    if found is None:
        raise Failed(f"{printable(username)} is no user of {printable(config.auth.realm)}", EXIT_NOT_FOUND)
    return found


def _print(one: User, as_json: bool) -> None:
    if as_json:
        print_json(
            {"user": one.username, "realm": one.realm, "algorithms": one.algorithms, "password_in_clear": one.in_clear}
        )
        return
    note = ", password in clear" if one.in_clear else ""
    algorithms = ", ".join(one.algorithms) or "no hash that can be used"
    click.echo(f"{printable(one.username)}  realm {printable(one.realm)}  {algorithms}{note}")


def _with_users(config: Config, work: Callable[[Users], Coroutine[Any, Any, None]], *, create: bool = False) -> None:
    async def run() -> None:
        users = Users(open_database(config.auth.db_url, create=create))
        try:
            await users.start(create=create)
            await work(users)
        finally:
            await users.close()

    asyncio.run(run())
