"""Event data sets in their published layouts, made here in the exact format."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from spikeloop.distill.datasets import load_dataset
from spikeloop.simulator.errors import DatasetError


def event_40bit(x, y, polarity, t) -> bytes:
    return bytes((x, y, polarity << 7 | t >> 16, t >> 8 & 255, t & 255))


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def an_nmnist(root: Path) -> None:
    for split, files in (("Train", ("5/00001", "0/00002", "4/00003")), ("Test", ("7/00001", "2/00002"))):
        for i, name in enumerate(files):
            write(root / "N-MNIST" / split / f"{name}.bin", event_40bit(i, 33, 1, 70000 + i) * (i + 1))


def test_nmnist_is_read_in_the_order_of_mnist(tmp_path):
    an_nmnist(tmp_path)
    found = load_dataset("nmnist", tmp_path)
    assert found.train_labels.tolist() == [5, 0, 4]
    assert found.test_labels.tolist() == [7, 2]
    assert (found.sensor, found.n_classes) == ((34, 34), 10)
    third = found.events("train", 2)
    assert third.x.tolist() == [2, 2, 2]
    assert third.timestamp_us.tolist() == [70002] * 3


def test_nmnist_inside_its_archives_equals_the_folders(tmp_path):
    an_nmnist(tmp_path / "plain")
    packed = tmp_path / "packed" / "N-MNIST"
    packed.mkdir(parents=True)
    for split in ("Train", "Test"):
        folder = tmp_path / "plain" / "N-MNIST" / split
        with zipfile.ZipFile(packed / f"{split}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in folder.rglob("*.bin"):
                archive.write(path, f"{split}/{path.relative_to(folder)}")
    plain, zipped = (load_dataset("nmnist", tmp_path / name) for name in ("plain", "packed"))
    np.testing.assert_array_equal(plain.train_labels, zipped.train_labels)
    for i in range(3):
        np.testing.assert_array_equal(plain.events("train", i).x, zipped.events("train", i).x)


@pytest.mark.parametrize("name", ["../../etc/x.bin", "/abs/0/x.bin", "C:/0/x.bin", "a\\..\\x.bin"])
def test_an_archive_that_leaves_its_folder_is_refused(tmp_path, name):
    (tmp_path / "N-MNIST").mkdir()
    with zipfile.ZipFile(tmp_path / "N-MNIST" / "Train.zip", "w") as archive:
        archive.writestr(name, b"12345")
    with pytest.raises(DatasetError, match="would leave its folder; such an archive is never unpacked"):
        load_dataset("nmnist", tmp_path)


def test_what_is_no_nmnist_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"Train: no such folder, and no Train\.zip beside it"):
        load_dataset("nmnist", tmp_path)
    write(tmp_path / "N-MNIST" / "Train.zip", b"\x80\x04\x95pickle")
    with pytest.raises(DatasetError, match="is not a whole zip archive"):
        load_dataset("nmnist", tmp_path)
    write(tmp_path / "N-MNIST" / "Train" / "ten" / "1.bin", b"12345")
    with pytest.raises(DatasetError, match="folder 'ten' is no class; allowed: 0, 1"):
        load_dataset("nmnist", tmp_path)
    (tmp_path / "N-MNIST" / "Train" / "ten" / "1.bin").unlink()
    with pytest.raises(DatasetError, match=r"holds no \.bin file in a folder of a class"):
        load_dataset("nmnist", tmp_path)


def test_ncaltech101_splits_every_class_by_the_order_of_its_files(tmp_path):
    for kind, n in (("BACKGROUND_Google", 11), ("accordion", 2)):
        for i in range(n):
            write(tmp_path / "Caltech101" / kind / f"image_{i + 1:04d}.bin", event_40bit(239, 179, 0, i))
    found = load_dataset("ncaltech101", tmp_path)
    assert found.n_classes == 2
    assert found.train_labels.tolist() == [0] * 9 + [1]
    assert found.test_labels.tolist() == [0, 0, 1]
    assert [int(found.events("test", i).timestamp_us[0]) for i in range(3)] == [9, 10, 1]
    assert found.sensor == (180, 240)


def test_cifar10_dvs_takes_the_first_hundred_of_a_class_for_the_test(tmp_path):
    for kind, number in (("cat", 3), ("cat", 100), ("airplane", 99), ("airplane", 1000)):
        content = b"#!AER-DAT2.0\r\n" + struct.pack(">II", number << 1 & 0xFF, number)
        write(tmp_path / "CIFAR10-DVS" / kind / f"cifar10_{kind}_{number}.aedat", content)
    found = load_dataset("cifar10_dvs", tmp_path)
    assert found.test_labels.tolist() == [3, 0]
    assert found.train_labels.tolist() == [3, 0]
    assert [int(found.events("train", i).timestamp_us[0]) for i in range(2)] == [100, 1000]
    assert int(found.events("test", 0).y[0]) == 127 - 3
    write(tmp_path / "CIFAR10-DVS" / "cow" / "cifar10_cow_1.aedat", b"")
    with pytest.raises(DatasetError, match="no recording of CIFAR10-DVS"):
        load_dataset("cifar10_dvs", tmp_path)


def a_gesture_set(root: Path, rows: str = "2,100,200\n11,200,260\n") -> None:
    folder = root / "DvsGesture"
    words = [(7 << 17 | 1 << 2 | 3, t) for t in (99, 100, 199, 200, 259, 260)]
    packet = struct.pack("<HHIIIIII", 1, 0, 8, 4, 0, 6, 6, 6) + b"".join(struct.pack("<II", *pair) for pair in words)
    for user in ("user01_led", "user24_led"):
        write(folder / f"{user}.aedat", b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + packet)
        write(folder / f"{user}_labels.csv", "class,startTime_usec,endTime_usec\n" + rows)
    write(folder / "trials_to_train.txt", "user01_led.aedat\n")
    write(folder / "trials_to_test.txt", "user24_led.aedat\n\n")


def test_a_gesture_is_a_row_of_the_labels(tmp_path):
    a_gesture_set(tmp_path)
    found = load_dataset("dvs_gesture", tmp_path)
    assert found.train_labels.tolist() == found.test_labels.tolist() == [1, 10]
    assert found.n_classes == 11
    assert found.events("train", 0).timestamp_us.tolist() == [100, 199]
    assert found.events("test", 1).timestamp_us.tolist() == [200, 259]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("12,100,200\n", "line 2: class 12 from 100 to 200 us; classes are 1 to 11"),
        ("1,200,200\n", "ends after it starts"),
        ("1,2\n", "a row is class, start and end in us"),
        ("1,2,__import__\n", "a row is class, start and end in us"),
    ],
)
def test_labels_that_make_no_sense_are_refused(tmp_path, rows, message):
    a_gesture_set(tmp_path, rows)
    with pytest.raises(DatasetError, match=message):
        load_dataset("dvs_gesture", tmp_path)


def test_a_trial_outside_the_folder_is_refused(tmp_path):
    a_gesture_set(tmp_path)
    write(tmp_path / "DvsGesture" / "trials_to_test.txt", "../../secret.aedat\n")
    with pytest.raises(DatasetError, match="would leave its folder"):
        load_dataset("dvs_gesture", tmp_path)
