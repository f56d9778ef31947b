import numpy as np
import pytest
from written import csv, idx, pictures, refusal

from helpers import data


def write(root, train, test, stem="mnist", seed=0):
    """CSV files of images with these labels."""
    for part, labels in (("train", train), ("test", test)):
        images = pictures(len(labels), len(part) + seed)[0]
        (root / f"{stem}_{part}.csv").write_text(csv(images, labels))


@pytest.mark.fault(102)
def test_own_classes_are_counted_from_the_data(root):
    for count in (2, 10, 256):
        write(root, np.arange(2 * count) % count, np.arange(count))
        found = data.load("MNIST", "csv", root)
        assert found.classes == tuple(map(str, range(count)))
        assert (found.title, found.verified, found.real) == ("own images", False, True)
        told = data.describe(found)
        assert told.startswith(f"own images, in {count} classes, in place of MNIST: ")
    assert refusal(root, "auto").startswith(f"{root / 'mnist_train.csv'} and mnist_test.csv: not")


@pytest.mark.fault(102)
def test_own_classes_have_the_names_beside_them_and_never_those_of_the_known_set(root):
    write(root, np.arange(20) % 10, np.arange(10), "fashion-mnist")
    found = data.load("FashionMNIST", "csv", root)
    assert found.classes == tuple("0123456789") and found.title == "own images"
    write(root, [0, 2, 0, 2], [2, 0], "fashion-mnist")
    (root / "classes.txt").write_text("\ufeffround\r\n<b>square</b>\r\n星\r\n", encoding="utf-8")
    (root / "title.txt").write_text("Shapes\n")
    found = data.load("FashionMNIST", "csv", root)
    assert found.classes == ("round", "<b>square</b>", "星") and found.title == "Shapes"


@pytest.mark.fault(14, 102)
def test_labels_without_a_name_and_names_that_are_none(root):
    for train, test, names, says in (
        ([0, 1, 2], [0, 3], None, "mnist_test.csv: row 1: label 3, expected 0..2"),
        ([0, 1, 10], [0, 1], None, "mnist_train.csv: labels go up to 10, but 8 of them are not"),
        ([0, 1, 2], [0, 1], "a\nb", "mnist_train.csv: row 2: label 2, expected 0..1"),
        ([0, 1, 1], [0, 1], "a\na", "classes.txt:2: 'a', expected a name, once"),
        ([0, 1, 1], [0, 1], "a\nb\x1b[2J", "classes.txt:2: 'b\\x1b[2J', expected a name"),
        ([0, 1, 1], [0, 1], f"a\n{'b' * 61}", "classes.txt:2: 'bbb"),
        ([0, 1, 1], [0, 1], "\n".join(map(str, range(257))), "classes.txt:257: '256'"),
        ([0, 1, 1], [0, 1], "a\n\udcff", "classes.txt: 'utf-8' codec can't decode byte 0xff"),
    ):
        write(root, train, test)
        if names is not None:
            (root / "classes.txt").write_bytes(names.encode("utf-8", "surrogateescape"))
        assert refusal(root, "csv").startswith(str(root / says)), says


def test_a_set_without_known_sha256_is_itself_if_its_labels_are(root):
    raw = root / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    for count, title in ((26, "EMNIST letters"), (5, "own images")):
        images, labels = pictures(count)[0], np.arange(1, count + 1, dtype=np.uint8)
        for part in ("train", "test"):
            (raw / f"emnist-letters-{part}-images-idx3-ubyte").write_bytes(idx(images))
            (raw / f"emnist-letters-{part}-labels-idx1-ubyte").write_bytes(idx(labels))
        found = data.load("EMNIST-letters", data_dir=root)
        np.testing.assert_array_equal(found.train.images, images.transpose(0, 2, 1))
        assert found.train.labels.tolist() == list(range(count)) and found.title == title
        assert found.classes == (
            data.SETS["EMNIST-letters"].classes if count == 26 else (*"01234",)
        )
    labels = raw / "emnist-letters-test-labels-idx1-ubyte"
    labels.write_bytes(idx(np.arange(5, dtype=np.uint8)))
    line = refusal(root, "auto", "EMNIST-letters")
    assert line == f"{labels}: row 0: label 0, expected 1..5"


@pytest.mark.fault(103, 104)
def test_one_label_and_too_few_images_are_refused_where_they_are_not_enough(root):
    write(root, [0] * 5, [0] * 3)
    line = refusal(root, "csv")
    assert line.endswith("every training label is '0', this run needs two or more")
    found = data.load("MNIST", "csv", root, need_test_labels=False)
    assert found.classes == ("0",)
    with pytest.raises(ValueError, match="5 training images, scores need 56 or more"):
        data.check_enough(found)
    data.check_enough(found, train=5, test=3)
    with pytest.raises(ValueError, match="mnist_test.csv: 3 test images, scores need 4 or more"):
        data.check_enough(found, train=5, test=4)
    write(root, [0, 0, 0, 1], [0, 1])  # the first three are of one class
    assert "the first 3 training images: every" in refusal(root, "csv", train_limit=3)
