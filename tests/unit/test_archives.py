"""Archives of strangers: nothing is written outside the folder, and nothing of a damaged one stays."""

import io
import tarfile
import zipfile

import pytest

from spikeloop.distill.archives import unpack
from spikeloop.simulator.errors import DatasetError


def tar_of(path, *members, mode="w:gz"):
    with tarfile.open(path, mode) as tape:
        for name, content, kind in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size = kind, len(content)
            entry.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            tape.addfile(entry, io.BytesIO(content))
    return path


def test_plain_files_are_unpacked_from_tar_and_zip(tmp_path):
    tar = tar_of(tmp_path / "a.tar.gz", ("set", b"", tarfile.DIRTYPE), ("set/x.bin", b"one", tarfile.REGTYPE))
    assert unpack(tar, tmp_path / "tar") == 1
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("set/", b"")
        packed.writestr("set/x.bin", b"one")
    assert unpack(tmp_path / "a.zip", tmp_path / "zip") == 1
    for kind in ("tar", "zip"):
        assert (tmp_path / kind / "set" / "x.bin").read_bytes() == b"one"
        assert [entry.name for entry in (tmp_path / kind).iterdir()] == ["set"]


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("../evil", tarfile.REGTYPE, "would leave its folder"),
        ("set/../../evil", tarfile.REGTYPE, "would leave its folder"),
        ("/evil", tarfile.REGTYPE, "would leave its folder"),
        ("..\\evil", tarfile.REGTYPE, "would leave its folder"),
        ("set/link", tarfile.SYMTYPE, "is a link or a device"),
        ("set/hard", tarfile.LNKTYPE, "is a link or a device"),
        ("set/null", tarfile.CHRTYPE, "is a link or a device"),
    ],
)
def test_a_member_that_is_no_plain_file_of_the_folder_is_refused(tmp_path, name, kind, message):
    tar = tar_of(tmp_path / "a.tar", ("set/good", b"1", tarfile.REGTYPE), (name, b"", kind), mode="w")
    with pytest.raises(DatasetError, match=message):
        unpack(tar, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("attributes", [0, 0o120777 << 16])
def test_a_zip_is_judged_alike(tmp_path, attributes):
    entry = zipfile.ZipInfo("set/x" if attributes else "../x")
    entry.external_attr = attributes
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(entry, b"/etc/passwd")
    with pytest.raises(DatasetError, match="is a link" if attributes else "would leave its folder"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path, monkeypatch):
    tar = tar_of(tmp_path / "a.tar", *((f"set/{i}", b"12345", tarfile.REGTYPE) for i in range(3)), mode="w")
    monkeypatch.setattr("spikeloop.distill.archives.MAX_TOTAL_BYTES", 14)
    with pytest.raises(DatasetError, match="or 14 bytes; it is not unpacked"):
        unpack(tar, tmp_path / "out")
    monkeypatch.setattr("spikeloop.distill.archives.MAX_MEMBER_BYTES", 4)
    with pytest.raises(DatasetError, match="member 'set/0' has 5 bytes; allowed are 4"):
        unpack(tar, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("cut", [3, 60])
def test_half_an_archive_leaves_nothing(tmp_path, cut):
    tar = tar_of(tmp_path / "a.tar.gz", ("set/x", bytes(range(256)) * 20, tarfile.REGTYPE))
    tar.write_bytes(tar.read_bytes()[:cut])
    with pytest.raises(DatasetError, match="is not a whole archive"):
        unpack(tar, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_there_is_not_overwritten(tmp_path):
    tar = tar_of(tmp_path / "a.tar", ("set/x", b"new", tarfile.REGTYPE), mode="w")
    (tmp_path / "out" / "set").mkdir(parents=True)
    with pytest.raises(DatasetError, match="is there already; move it away"):
        unpack(tar, tmp_path / "out")
    assert list((tmp_path / "out" / "set").iterdir()) == []
