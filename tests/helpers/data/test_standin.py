import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from helpers.data import standin


@pytest.fixture(scope="module")
def digits():
    return standin.digits()


@pytest.fixture(scope="module")
def clothes():
    return standin.garments(train=1000, test=200)


@pytest.mark.parametrize("name", ["digits", "clothes"])
def test_ten_classes_that_can_be_told_apart(request, name):
    train, test = request.getfixturevalue(name)
    for images, labels in (train, test):
        assert images.shape == (len(labels), 28, 28) and images.dtype == np.uint8
        assert labels.dtype == np.int64 and np.bincount(labels).min() > 0.09 * len(labels)
        assert len({image.tobytes() for image in images}) == len(images)
        levels = np.bincount(images[:1000].ravel())
        assert (levels > 0).sum() > 200  # smooth, not black and white
        assert set(labels[:100]) == set(range(10))  # shuffled: the first N are of every class
    (seen, known), (unseen, wanted) = ((a[:2000].reshape(-1, 784) / 255, b[:2000])
                                       for a, b in (train, test))  # fmt: skip
    told = RidgeClassifier().fit(seen, known).predict(unseen)
    assert (told == wanted).mean() > 0.8


def test_digits_stand_as_in_mnist(digits):
    images, labels = digits[0]
    assert len(images) == 20 * 1497 and len(digits[1][0]) == 4 * 300
    weight = images / images.sum((1, 2), keepdims=True)
    grid = np.arange(28)
    down, across = weight.sum(2) @ grid, weight.sum(1) @ grid
    assert abs(down - 13.5).max() < 1.5 and abs(across - 13.5).max() < 1.5
    tall = (images.max(2) > 127).sum(1)
    assert 17 < tall.mean() < 21
    assert (images[:, [0, -1]].max((1, 2)) > 0).mean() < 0.001  # hardly one reaches the border


def test_the_same_seed_gives_the_same_bytes(clothes):
    again = standin.garments(train=1000, test=200)
    other = standin.garments(seed=1, train=1000, test=200)
    for part in (0, 1):
        assert np.array_equal(clothes[part][0], again[part][0])
        assert not np.array_equal(clothes[part][0], other[part][0])
