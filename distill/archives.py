"""Archives of strangers: members are read one by one, and a name that leaves the folder is refused."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from spikeloop.simulator.errors import DatasetError

#: Largest member and most members of an archive that is unpacked; the sets known here stay far below.
MAX_MEMBER_BYTES = 2**31
MAX_MEMBERS = 2_000_000
#: Most bytes of all members together.
MAX_TOTAL_BYTES = 2**37


def refuse_unsafe(name: str, where: Path) -> None:
    """Refuse the name of a member that would be written outside the folder.

    Raises:
        DatasetError: the name is absolute, holds ``..``, a backslash or a drive.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or PureWindowsPath(name).drive or "\0" in name:
        raise DatasetError(f"{where}: member '{name}' would leave its folder; such an archive is never unpacked")


def unpack(archive: Path, folder: Path) -> int:
    """Unpack a tar (plain, gzip) or zip into ``folder``; returns the number of files.

    The files appear in ``folder`` only when the whole archive has been read. Links, devices and other special members
    are refused.

    Raises:
        DatasetError: not a whole archive, or a member that is refused; ``folder`` is unchanged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{archive.name}.") as scratch:
        count, total = 0, 0
        try:
            for name, size, stream in _members(archive):
                count, total = count + 1, total + size
                if count > MAX_MEMBERS or total > MAX_TOTAL_BYTES:
                    raise DatasetError(
                        f"{archive}: has more than {MAX_MEMBERS} members or {MAX_TOTAL_BYTES} bytes; it is not unpacked"
                    )
                target = Path(scratch) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with stream, target.open("wb") as out:
                    shutil.copyfileobj(stream, out, 2**20)
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise DatasetError(f"{archive}: is not a whole archive ({error}); fetch it again") from error
        for entry in sorted(Path(scratch).iterdir()):
            if (folder / entry.name).exists():
                raise DatasetError(f"{folder / entry.name}: is there already; move it away to unpack {archive.name}")
            entry.rename(folder / entry.name)
    return count


def _members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """(name, length, content) of the plain files, after the checks of name, kind and size."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                refuse_unsafe(entry.filename, archive)
                # The upper 16 bits hold the Unix mode: 0o12 in its top digits is a link.
                _refuse_special(entry.external_attr >> 28 == 0o12, entry.filename, entry.file_size, archive)
                if not entry.is_dir():
                    yield entry.filename, entry.file_size, packed.open(entry)
        return
    with closing(tarfile.open(archive)) as tape:
        for member in tape:
            refuse_unsafe(member.name, archive)
            _refuse_special(not (member.isfile() or member.isdir()), member.name, member.size, archive)
            content = tape.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, member.size, content


def _refuse_special(special: bool, name: str, size: int, archive: Path) -> None:
    if special:
        raise DatasetError(f"{archive}: member '{name}' is a link or a device; such an archive is never unpacked")
    if size > MAX_MEMBER_BYTES:
        raise DatasetError(f"{archive}: member '{name}' has {size} bytes; allowed are {MAX_MEMBER_BYTES}")
