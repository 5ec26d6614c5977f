"""Where data sets come from, whether their files are whole, and how they get here."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from spikeloop.simulator.config import resolve_yaml
from spikeloop.simulator.errors import DatasetError, DownloadError
from spikeloop.simulator.spec import Spec, validate_spec
from spikeloop.simulator.strict_yaml import read_yaml

from .archives import unpack

_TIMEOUT_S = 30
_CHUNK = 2**20
#: A file whose length is not published may not be longer.
_MOST_BYTES = 8 * 2**30

Say = Callable[[str], None]


class SourceFile(Spec):
    """A file as it is published.

    Attributes:
        name: of the file.
        md5: published checksum, in hex; it tells a damaged file from a whole one.
        bytes: published length; None: not known.
        url: address of the file; None: a person has to fetch it with a browser.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    md5: str = Field(pattern=r"^[0-9a-f]{32}$")
    bytes: int | None = Field(default=None, ge=1)
    url: str | None = Field(default=None, pattern=r"^https?://")


class SourceSet(Spec):
    """A data set as it is published.

    Attributes:
        title: its name and paper.
        page: address for a person.
        folder: folder of the data set below that of all data sets.
        n_train: published number of training images or recordings; None where there is no split.
        n_test: likewise.
        packed: the files are archives, read only after they are unpacked.
        inside: unpacked inside ``folder`` rather than beside it.
        source: where this entry comes from.
        files: what is published.
    """

    title: str
    page: str
    folder: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    n_train: int | None = Field(ge=1)
    n_test: int | None = Field(ge=1)
    packed: bool
    inside: bool = False
    source: str
    files: tuple[SourceFile, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _archives_have_a_place(self) -> SourceSet:
        if self.inside and not self.packed:
            raise ValueError("inside: true is for archives; set packed: true")
        return self

    def home(self, root: Path) -> Path:
        """Folder that the published files go into."""
        return root if self.packed and not self.inside else root / self.folder


class SourceList(Spec):
    """File ``hwconfigs/datasets/sources.yaml``."""

    schema_version: Literal[1] = 1
    sets: dict[str, SourceSet]


def load_sources(name_or_path: str = "sources") -> dict[str, SourceSet]:
    """Published data sets by name.

    Raises:
        ConfigError: the file is wrong; one sentence.
    """
    path = resolve_yaml(name_or_path, "datasets")
    return validate_spec(SourceList, read_yaml(path), where=str(path)).sets


def is_there(source: SourceSet, root: Path) -> bool:
    """Whether the data set lies below ``root``, whole or not."""
    folder = root / source.folder
    if source.packed and not source.inside:
        return folder.is_dir() and any(folder.iterdir())
    return all(
        _lies_open(source, file, root) or (not source.packed and (folder / file.name).is_file())
        for file in source.files
    )


def _lies_open(source: SourceSet, file: SourceFile, root: Path) -> bool:
    """Whether what a file holds lies in the folder of the set under the file's name without its last suffix."""
    return (root / source.folder / Path(file.name).stem).exists()


def fetch(name: str, source: SourceSet, root: Path, say: Say) -> None:
    """Bring the published files below ``root``, verified, and unpack archives.

    Files that lie there already (put by hand) are verified and used.

    Raises:
        DownloadError: no network, no such address, or a file that only a browser can fetch; the sentence says what to
            put where.
        DatasetError: a file is not the published one.
    """
    home = source.home(root)
    for file in source.files:
        target = home / file.name
        if _lies_open(source, file, root):
            continue
        ours = not target.is_file()
        if ours:
            _download(name, source, file, target, say)
        else:
            refuse_other_content(target, file)
        if source.packed:
            n = unpack(target, home)
            say(f"{target.name}: {n} files unpacked into {home}")
            if ours:
                target.unlink()


def refuse_other_content(path: Path, file: SourceFile) -> None:
    """Refuse a file that is not the published one.

    Raises:
        DatasetError: its MD5 differs.
    """
    found = md5_of(path)
    if found != file.md5:
        raise DatasetError(
            f"{path}: has MD5 {found}, published is {file.md5}; it is damaged or another file, fetch it again"
        )


def md5_of(path: Path) -> str:
    """MD5 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _download(name: str, source: SourceSet, file: SourceFile, target: Path, say: Say) -> None:
    """Write to a temporary file beside ``target``, verify, rename."""
    by_hand = (
        f"fetch {', '.join(item.name for item in source.files)} from {source.page} with a browser, put them into "
        f"{target.parent} and run this again"
    )
    if file.url is None:
        raise DownloadError(f"{name}: {target} is not there and its publisher wants a browser; {by_hand}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=f".{file.name}.")
    except OSError as error:
        raise DatasetError(f"{target.parent}: cannot be written ({error.strerror}); give another --dir") from None
    try:
        say(f"{file.name}: from {file.url}")
        with os.fdopen(handle, "wb") as out:
            found = _copy(file, out.write)
        if found != file.md5:
            raise DatasetError(
                f"{file.url}: came with MD5 {found}, published is {file.md5}; nothing was kept, {by_hand}"
            )
        Path(scratch).chmod(0o644)
        Path(scratch).replace(target)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(error, urllib.error.HTTPError):
            reason = f"HTTP {error.code} {error.reason}"
            error.close()
        raise DownloadError(f"{name}: {file.url} cannot be fetched ({reason}); {by_hand}") from None
    finally:
        Path(scratch).unlink(missing_ok=True)


def _copy(file: SourceFile, write: Callable[[bytes], object]) -> str:
    """Stream an address into ``write``; returns the MD5 of what came."""
    most = file.bytes or _MOST_BYTES
    digest, n = hashlib.md5(usedforsecurity=False), 0
    with urllib.request.urlopen(str(file.url), timeout=_TIMEOUT_S) as stream:
        while chunk := stream.read(_CHUNK):
            n += len(chunk)
            if n > most:
                raise DatasetError(f"{file.url}: sends more than the {most} bytes that are allowed; nothing was kept")
            digest.update(chunk)
            write(chunk)
    return digest.hexdigest()
