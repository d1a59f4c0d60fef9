"""A store takes only a folder that is its own, and leaves every other as it found it."""

from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from reginfo.errors import StoreRefused
from reginfo.store.embedded import EmbeddedStore
from reginfo.store.folder import DATABASE, FORMAT, MARKER, StoreFolder
from tests.store.samples import aor, bound


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def filled(folder: Path) -> None:
    store = EmbeddedStore(folder)
    await store.commit([bound(aor(number)) for number in range(100)])
    store._disk._db.flush()
    await store.commit([bound(aor(number)) for number in range(100, 200)])
    await store.close()


async def test_a_missing_folder_and_an_empty_one_become_stores(tmp_path: Path) -> None:
    for folder in (tmp_path / "a" / "b", tmp_path / "c"):
        await filled(folder)
        assert (folder / MARKER).read_bytes() == b"reginfo store 1 ready\n"
        store = EmbeddedStore(folder)
        assert len(store) == 200
        await store.close()


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(StoreRefused, match="holds other files"):
        EmbeddedStore(tmp_path)
    assert contents(tmp_path) == {"letters.txt": b"mine"}


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    foreign = Rdict(str(tmp_path), Options(raw_mode=True))
    foreign[b"theirs"] = b"data"
    foreign.close()
    before = contents(tmp_path)
    with pytest.raises(StoreRefused, match="holds other files"):
        EmbeddedStore(tmp_path)
    assert contents(tmp_path) == before


async def test_a_database_of_another_program_under_our_marker_is_refused(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_bytes(b"reginfo store %d ready\n" % FORMAT)
    foreign = Rdict(str(tmp_path / DATABASE), Options(raw_mode=True))
    foreign[b"theirs"] = b"data"
    foreign.close()
    with pytest.raises(StoreRefused, match="not the database of a store"):
        EmbeddedStore(tmp_path)
    foreign = Rdict(str(tmp_path / DATABASE), Options(raw_mode=True))
    assert foreign[b"theirs"] == b"data"
    foreign.close()


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    await filled(tmp_path)
    (tmp_path / MARKER).write_bytes(b"reginfo store %d ready\n" % (FORMAT + 1))
    before = contents(tmp_path)
    with pytest.raises(StoreRefused, match="format 2 of a newer version"):
        EmbeddedStore(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("marker", [b"", b"\0" * 22, b"reginfo store x ready\n", b"reginfo store 1"])
async def test_a_damaged_marker_is_refused(tmp_path: Path, marker: bytes) -> None:
    await filled(tmp_path)
    (tmp_path / MARKER).write_bytes(marker)
    with pytest.raises(StoreRefused, match="damaged"):
        EmbeddedStore(tmp_path)


async def test_a_folder_in_use_is_refused_while_it_is(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    with pytest.raises(StoreRefused, match="used by another running process"):
        EmbeddedStore(tmp_path)
    await store.close()
    await EmbeddedStore(tmp_path).close()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreRefused, match="cannot be used as a store"):
        EmbeddedStore(tmp_path / "store")


async def test_a_lost_database_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    await filled(tmp_path)
    (tmp_path / DATABASE / "CURRENT").unlink()
    with pytest.raises(StoreRefused, match="lost its database"):
        EmbeddedStore(tmp_path)
    assert not (tmp_path / DATABASE / "CURRENT").exists()


@pytest.mark.parametrize("database", [False, True])
async def test_a_creation_that_was_interrupted_is_finished(tmp_path: Path, database: bool) -> None:
    folder = StoreFolder(tmp_path)
    assert folder.is_empty
    folder.release()
    if database:
        Rdict(str(tmp_path / DATABASE), Options(raw_mode=True)).close()
    await filled(tmp_path)


@pytest.mark.parametrize("kind", [".sst", "MANIFEST"])
async def test_a_damaged_database_is_refused_with_one_line(tmp_path: Path, kind: str) -> None:
    await filled(tmp_path)
    victim = min(path for path in (tmp_path / DATABASE).iterdir() if kind in path.name)
    octets = bytearray(victim.read_bytes())
    for offset in range(16, len(octets) // 2):
        octets[offset] ^= 0x55
    victim.write_bytes(octets)
    before = {name: data for name, data in contents(tmp_path).items() if kind in name}
    with pytest.raises(StoreRefused) as refused:
        EmbeddedStore(tmp_path)
    assert "\n" not in str(refused.value)
    assert {name: data for name, data in contents(tmp_path).items() if kind in name} == before


async def test_a_truncated_file_is_refused_with_one_line(tmp_path: Path) -> None:
    """What RocksDB says of it has several lines; a log and a terminal get one."""
    await filled(tmp_path)
    victim = min((tmp_path / DATABASE).glob("*.sst"))
    with victim.open("r+b") as file:
        file.truncate(victim.stat().st_size // 2)
    with pytest.raises(StoreRefused, match="cannot be opened") as refused:
        EmbeddedStore(tmp_path)
    assert "\n" not in str(refused.value)


async def test_a_record_that_is_none_is_refused(tmp_path: Path) -> None:
    await filled(tmp_path)
    database = Rdict(str(tmp_path / DATABASE), Options(raw_mode=True))
    database[b"rsip:damaged@example.com"] = b"\x01 this is no record"
    database.close()
    with pytest.raises(StoreRefused, match="is damaged"):
        EmbeddedStore(tmp_path)
