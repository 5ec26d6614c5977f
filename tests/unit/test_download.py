"""Fetching: verified before it has its name, and one sentence where it cannot be had."""

import hashlib
import http.server
import io
import tarfile
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloop.distill.download import SourceFile, SourceSet, fetch, is_there, load_sources, md5_of
from spikeloop.simulator.errors import ConfigError, DatasetError, DownloadError
from spikeloop.simulator.spec import validate_spec


def archive() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as tape:
        entry = tarfile.TarInfo("the-set/x.bin")
        entry.size = 5
        tape.addfile(entry, io.BytesIO(b"12345"))
    return held.getvalue()


@pytest.fixture
def site():
    """(address, files): a server on this machine."""
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", files
    server.shutdown()
    thread.join()
    server.server_close()


def a_set(url: str | None, content: bytes, **fields) -> SourceSet:
    file = SourceFile(name="the-set.tar.gz", md5=hashlib.md5(content).hexdigest(), url=url, **fields)
    return SourceSet(
        title="A set",
        page="https://example.org/set",
        folder="the-set",
        n_train=1,
        n_test=1,
        packed=True,
        source="made for tests",
        files=(file,),
    )


def test_an_archive_is_fetched_verified_and_unpacked(site, tmp_path):
    address, files = site
    files["/a"] = archive()
    source = a_set(f"{address}/a", archive(), bytes=len(archive()))
    assert not is_there(source, tmp_path)
    fetch("the_set", source, tmp_path, lambda _: None)
    assert (tmp_path / "the-set" / "x.bin").read_bytes() == b"12345"
    assert [entry.name for entry in tmp_path.iterdir()] == ["the-set"]
    assert is_there(source, tmp_path)


@pytest.mark.parametrize(
    ("sent", "length", "error", "message"),
    [
        (b"something else", None, DatasetError, "came with MD5 .*, published is .*; nothing was kept, fetch the-set"),
        (b"x" * 5000, 100, DatasetError, "sends more than the 100 bytes that are allowed"),
        (None, None, DownloadError, "cannot be fetched .*404.*put them into"),
    ],
)
def test_what_is_not_the_published_file_is_not_kept(site, tmp_path, sent, length, error, message):
    address, files = site
    if sent is not None:
        files["/a"] = sent
    with pytest.raises(error, match=message):
        fetch("the_set", a_set(f"{address}/a", archive(), bytes=length), tmp_path, lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_one_sentence_says_what_to_put_where(tmp_path):
    # Port 1 of this machine answers nobody.
    with pytest.raises(DownloadError) as caught:
        fetch("the_set", a_set("http://127.0.0.1:1/a", archive()), tmp_path, lambda _: None)
    for part in ("http://127.0.0.1:1/a", "the-set.tar.gz", "https://example.org/set", str(tmp_path)):
        assert part in str(caught.value)
    with pytest.raises(DownloadError, match=r"its publisher wants a browser; fetch the-set\.tar\.gz from https"):
        fetch("the_set", a_set(None, archive()), tmp_path, lambda _: None)


def test_a_file_put_by_hand_is_verified_and_kept(tmp_path):
    (tmp_path / "the-set.tar.gz").write_bytes(archive())
    fetch("the_set", a_set(None, archive()), tmp_path, lambda _: None)
    assert {entry.name for entry in tmp_path.iterdir()} == {"the-set", "the-set.tar.gz"}
    (tmp_path / "the-set.tar.gz").write_bytes(b"\x80\x04\x95")
    with pytest.raises(DatasetError, match="it is damaged or another file"):
        fetch("the_set", a_set(None, archive()), tmp_path, lambda _: None)


def test_a_set_of_which_a_part_is_there_gets_the_rest(site, tmp_path):
    """Files that are read as they are: one lies there unpacked, the other is fetched."""
    address, files = site
    files["/b"] = b"second"
    file = {"name": "a.gz", "md5": "0" * 32}
    other = {"name": "b.gz", "md5": hashlib.md5(b"second").hexdigest(), "url": f"{address}/b"}
    plain = a_set(None, b"").model_copy(update={"packed": False, "files": (SourceFile(**file), SourceFile(**other))})
    (tmp_path / "the-set").mkdir()
    (tmp_path / "the-set" / "a").write_bytes(b"first")
    assert not is_there(plain, tmp_path)
    fetch("the_set", plain, tmp_path, lambda _: None)
    assert (tmp_path / "the-set" / "b.gz").read_bytes() == b"second"
    assert is_there(plain, tmp_path)


def test_the_shipped_list_names_every_set_and_only_web_addresses():
    sources = load_sources()
    assert set(sources) == {
        "fashion_mnist",
        "cifar10",
        "cifar100",
        "tiny_imagenet",
        "nmnist",
        "ncaltech101",
        "cifar10_dvs",
        "dvs_gesture",
    }
    assert all(file.url is None or file.url.startswith("http") for s in sources.values() for file in s.files)


@pytest.mark.parametrize("change", [{"url": "file:///etc/passwd"}, {"name": "../x"}, {"md5": "12"}])
def test_a_list_cannot_name_other_places(change):
    with pytest.raises(ConfigError):
        validate_spec(SourceFile, {"name": "x", "md5": "0" * 32, **change}, where="list")


@given(st.binary(max_size=300))
def test_md5_is_that_of_the_standard_library(content):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(content)
        assert md5_of(path) == hashlib.md5(content).hexdigest()
