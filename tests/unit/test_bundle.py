"""Packed workflows: what is taken, what is refused, and that nothing is written elsewhere or left behind."""

import bz2
import gzip
import io
import os
import shutil
import stat
import struct
import tarfile
import time
import tracemalloc
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snakeway.catalog import bundle, landing, snapshot
from snakeway.catalog.bundle import unpack as unpack_within_limits
from snakeway.catalog.bundle import unpack_here as unpack
from snakeway.client import pack
from snakeway.errors import InvalidWorkflow, WorkflowNotFound
from snakeway.tree import Tree

FILES = {"Snakefile": b"rule all:\n", "config/config.yaml": b"a: 1\n", "scripts/run.sh": b"#!/bin/sh\n"}


def tarred(files: dict[str, bytes], *more: tarfile.TarInfo, prefix: str = "") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{prefix}{name}")
            member.size, member.mtime = len(content), 1_700_000_000
            member.mode = 0o755 if name.endswith(".sh") else 0o644
            archive.addfile(member, io.BytesIO(content))
        for member in more:
            archive.addfile(member)
    return file.getvalue()


def zipped(files: dict[str, bytes], prefix: str = "", links: dict[str, str] | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(f"{prefix}{name}", (2023, 11, 14, 22, 13, 20))
            member.external_attr = (stat.S_IFREG | (0o755 if name.endswith(".sh") else 0o644)) << 16
            archive.writestr(member, content)
        for name, target in (links or {}).items():
            member = zipfile.ZipInfo(name)
            member.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(member, target)
    return file.getvalue()


def sparse_bomb() -> bytes:
    """A header whose map of holes goes on without end."""
    header = tarfile.TarInfo("sparse")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[482] = 1  # the map goes on in the next block
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    more = bytearray(bytes(512))
    more[504] = 1
    return bytes(block) + bytes(more) * 20_000


def one_stream_many_times() -> bytes:
    """A zip file whose entries are all the same bytes."""
    whole = bytearray(zipped({"Snakefile": bytes(100_000)}))
    at = whole.rindex(b"PK\x01\x02")
    entry, end = bytes(whole[at:-22]), bytes(whole[-22:])
    entries = b"".join(entry.replace(b"Snakefile", b"Snake%04d" % number) for number in range(200))
    count = struct.pack("<2H2L", 200, 200, len(entries), at)
    return bytes(whole[:at]) + entries + end[:8] + count + b"\0\0"


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder deep in another one, so that what leads out of it would be seen."""
    place = tmp_path / "a" / "b" / "place"
    place.mkdir(parents=True)
    return place


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("prefix", ["", "./", "my-workflow/", "./my-workflow/"])
@pytest.mark.parametrize(
    "make",
    [
        tarred,
        lambda files, prefix: gzip.compress(tarred(files, prefix=prefix)),
        lambda files, prefix: bz2.compress(tarred(files, prefix=prefix)),
        lambda files, prefix: zipped(files, prefix.removeprefix("./")),
    ],
    ids=["tar", "gzip", "bzip2", "zip"],
)
def test_every_way_of_packing_comes_to_the_same(place: Path, make: Callable[..., bytes], prefix: str) -> None:
    unpack(io.BytesIO(make(FILES, prefix=prefix)), place)
    assert everything(place) == FILES
    assert os.access(place / "scripts/run.sh", os.X_OK)
    assert not os.access(place / "Snakefile", os.X_OK)
    assert (place / "Snakefile").stat().st_mtime == 1_700_000_000


def test_what_is_packed_is_unpacked(place: Path, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    for name, content in {**FILES, ".gitignore": b"results/\n", "results/huge.txt": b"x", ".git/HEAD": b"x"}.items():
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_bytes(content)
    (origin / "scripts/run.sh").chmod(0o755)
    (origin / "link").symlink_to("config/config.yaml")
    record = origin / ".snakemake/metadata" / urlsafe_b64encode(b"Snakefile").decode()
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    (origin / ".snakemake/log").write_text("x")
    with pack(origin) as archive:
        unpack(archive, place)
    assert Tree(place).read() == Tree(origin).read()
    assert set(everything(place)) == {*FILES, ".gitignore", "link", str(record.relative_to(origin))}
    (origin / "out").symlink_to("/etc/hostname")
    with pytest.raises(InvalidWorkflow, match="leads out"):
        pack(origin)
    with pytest.raises(WorkflowNotFound):
        pack(tmp_path / "none")


LINK, HARD, PIPE, DEVICE = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE
HOSTILE = {
    "up": tarred({**FILES, "../evil": b"x"}),
    "up in the middle": tarred({**FILES, "a/../../evil": b"x"}),
    "absolute": tarred({**FILES, "/tmp/snakeway-evil": b"x"}),
    "dot": tarred({**FILES, "a/./b": b"x"}),
    "git": tarred({**FILES, "sub/.GIT/config": b"x"}),
    "link up": tarred(FILES, special("out", LINK, "../../evil")),
    "absolute link": tarred(FILES, special("out", LINK, "/etc")),
    "link by links": tarred(FILES, special("d", LINK, "."), special("out", LINK, "d/../..")),
    "file through a link": tarred({**FILES, "out/evil": b"x"}, special("out", LINK, "..")),
    "link through a link": tarred(FILES, special("a", LINK, "../.."), special("a/evil", LINK, "x")),
    "link below a link": tarred(FILES, special("a", LINK, "config"), special("a/n/x/evil", LINK, "y")),
    "link through links deeper down": tarred(
        {**FILES, "x/y/f": b""}, special("x/y/d", LINK, "../.."), special("x/y/l", LINK, "d/..")
    ),
    "link up in an outer folder": tarred(FILES, special("o/up", LINK, ".."), prefix="o/"),
    "link aside in an outer folder": tarred(FILES, special("o/README.md", LINK, "../victim"), prefix="o/"),
    "deep": tarred({**FILES, "/".join(["d"] * 70): b"x"}),
    "many folders": tarred({**FILES, **{"/".join([str(n), *["d"] * 60]): b"" for n in range(200)}}),
    "damaged header": tarred(FILES)[:1030] + b"x" + tarred(FILES)[1031:],
    "cut between files": tarred(FILES)[:1024],
    "sparse": sparse_bomb(),
    "sparse, cut": sparse_bomb()[:700],
    "zip64 locator": zipped(FILES)[:-22] + b"PK\x06\x07" + bytes(16) + zipped(FILES)[-22:],
    "zip over itself": one_stream_many_times(),
    "hard link": tarred(FILES, special("hard", HARD, "/etc/passwd")),
    "pipe": tarred(FILES, special("pipe", PIPE)),
    "device": tarred(FILES, special("zero", DEVICE)),
    "twice": tarred(FILES, *[special("link", LINK, "Snakefile")] * 2),
    "file and folder": tarred({**FILES, "Snakefile/x": b"x"}),
    "no Snakefile": tarred({"README.md": b""}),
    "empty": tarred({}),
    "nothing": b"",
    "text": b"rule all:\n" * 100,
    "torn tar": tarred({**FILES, "big": b"x" * 5000})[:3000],
    "torn gzip": gzip.compress(tarred(FILES))[:-20],
    "torn zip": zipped(FILES)[:-30],
    "xz": b"\xfd7zXZ\x00" + b"\0" * 100,
    "long name": tarred({**FILES, "x" * 300: b"x"}),
    "long path": tarred({**FILES, "/".join(["x" * 100] * 12): b"x"}),
    "zip up": zipped({**FILES, "../evil": b"x"}),
    "zip link up": zipped(FILES, links={"out": "../../evil"}),
    "zip with a password": zipped(FILES)
    .replace(b"PK\x03\x04\x14\x00\x00\x00", b"PK\x03\x04\x14\x00\x01\x00")
    .replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"),
}


@pytest.mark.parametrize("archive", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_hostile_or_broken_is_refused_and_leaves_nothing(archive: bytes, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("secret")
    store = snapshot.Snapshots(tmp_path / "a" / "b" / "store")
    with pytest.raises(InvalidWorkflow, match=r"\w+ \w+"):
        store.add(lambda place: unpack(io.BytesIO(archive), place))
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"a", "a/b", "a/b/store", "victim"}
    assert not Path("/tmp/snakeway-evil").exists()


def test_a_bomb_is_defused_before_it_fills_the_disk(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing, "MAX_BYTES", 3_000_000)
    archive = gzip.compress(tarred({**FILES, "zeros": bytes(20_000_000)}))
    assert len(archive) < 100_000
    with pytest.raises(InvalidWorkflow, match="MiB"):
        unpack(io.BytesIO(archive), place)
    assert sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) <= 3_000_000


def test_what_unpacks_to_too_much_is_refused_where_nothing_of_it_is_wanted(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "_MAX_UNPACKED", 3_000_000)
    archive = gzip.compress(tarred({"__pycache__/zeros": bytes(20_000_000), **FILES}))
    with pytest.raises(InvalidWorkflow, match="unpacks to more"):
        unpack(io.BytesIO(archive), place)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_bomb_in_a_header_takes_no_memory(place: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("bomb")
    header.type, header.size = kind, 30_000_000
    archive = gzip.compress(header.tobuf() + bytes(30_000_000) + tarred(FILES))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidWorkflow, match="header"):
            unpack(io.BytesIO(archive), place)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_million_entries_are_not_counted_to_the_end(place: Path) -> None:
    folder = special("folder", tarfile.DIRTYPE).tobuf()
    file = io.BytesIO(gzip.compress(folder * 1000) * 1000)  # a gzip file may have several parts
    with pytest.raises(InvalidWorkflow, match="more than 10000 files"):
        unpack(file, place)
    assert file.tell() < len(file.getvalue()) / 10


def test_a_zip_file_with_a_long_list_is_refused_before_it_is_read(place: Path) -> None:
    long_names = zipped({"x" * 60_000 + str(number): b"" for number in range(200)})
    whole = zipped(FILES)
    in_the_longer_format = whole[:-22] + whole[-22:-14] + b"\xff" * 12 + b"\0\0"
    for archive in (long_names, in_the_longer_format):
        with pytest.raises(InvalidWorkflow, match="more than 10000 files"):
            unpack(io.BytesIO(archive), place)


def test_times_in_the_future_are_taken_back_and_none_is_newer_than_the_other(place: Path) -> None:
    members = [special(name, tarfile.REGTYPE) for name in ("newest", "newer", "Snakefile")]
    for days, member in enumerate(reversed(members)):
        member.mtime = 9_000_000_000 + days * 86_400
    unpack(io.BytesIO(tarred({}, *members)), place)
    times = {(place / member.name).stat().st_mtime_ns for member in members}
    assert len(times) == 1
    assert times.pop() <= time.time_ns()


def test_the_finder_s_leftovers_are_passed_over(place: Path) -> None:
    files = {f"o/{name}": content for name, content in FILES.items()}
    unpack(io.BytesIO(zipped({**files, "__MACOSX/o/._Snakefile": b"x", "o/.DS_Store": b"x", ".DS_Store": b"x"})), place)
    assert everything(place) == FILES


def test_links_within_are_kept(place: Path) -> None:
    unpack(io.BytesIO(tarred(FILES, special("o/deep/link", LINK, "../config/config.yaml"), prefix="o/")), place)
    assert (place / "deep" / "link").read_bytes() == FILES["config/config.yaml"]


@pytest.fixture
def sent(tmp_path: Path) -> Callable[[bytes], BinaryIO]:
    """Writes an archive into a real file, as it comes from a request."""

    def write(content: bytes) -> BinaryIO:
        (tmp_path / "archive").write_bytes(content)
        return (tmp_path / "archive").open("r+b")

    return write


def test_within_limits_the_same_is_made_and_the_same_is_said(place: Path, sent: Callable[[bytes], BinaryIO]) -> None:
    with sent(gzip.compress(tarred(FILES, prefix="o/"))) as archive:
        unpack_within_limits(archive, place)
    assert everything(place) == FILES
    shutil.rmtree(place)
    with sent(HOSTILE["up"]) as archive, pytest.raises(InvalidWorkflow, match="leads out"):
        unpack_within_limits(archive, place)
    with sent(tarred(FILES)) as archive, pytest.raises(FileNotFoundError, match="/proc/snakeway"):
        unpack_within_limits(archive, Path("/proc/snakeway"))  # where nobody can make anything


def test_what_takes_too_long_or_too_much_is_ended(
    place: Path, sent: Callable[[bytes], BinaryIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = special("x", tarfile.XHDTYPE)
    digits.size = 40_960
    with sent(digits.tobuf() + b"1" * digits.size + tarred(FILES)) as archive:  # quadratic in some versions of Python
        monkeypatch.setattr(bundle, "_TIMEOUT_S", 3.0)
        with suppress(InvalidWorkflow):
            unpack_within_limits(archive, place)
    with sent(tarred(FILES)) as archive:
        monkeypatch.setattr(bundle, "_TIMEOUT_S", 0.01)
        with pytest.raises(InvalidWorkflow, match="memory or time"):
            unpack_within_limits(archive, place)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([tarred(FILES), gzip.compress(tarred(FILES), mtime=0), zipped(FILES)]), st.data())
def test_no_archive_is_too_strange(tmp_path_factory: pytest.TempPathFactory, archive: bytes, data: Any) -> None:
    mangled = bytearray(archive)
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(archive) - 1), st.integers(0, 255)), max_size=8)):
        mangled[at] = byte
    outer = tmp_path_factory.mktemp("strange")
    place = outer / "place"
    place.mkdir()
    with (outer / "archive").open("w+b") as file, suppress(InvalidWorkflow):  # a real file: it has errors of its own
        file.write(bytes(mangled[: data.draw(st.integers(0, len(mangled)))]))
        unpack(file, place)
    assert {path.name for path in outer.iterdir()} == {"archive", "place"}
    shutil.rmtree(outer)
