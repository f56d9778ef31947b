import numpy as np
import pytest

from helpers.data import garments
from helpers.data import standin as sample


@pytest.fixture(scope="module")
def digits():
    return sample.digits()


@pytest.fixture(scope="module")
def clothes():
    return garments.draw(train=1000, test=200)


def nearest(train, test):
    """Share of test images whose nearest training image has their label."""
    a, b = (images[:4000].reshape(-1, 784).astype(np.float32) for images, _ in (train, test))
    distance = (b**2).sum(1)[:, None] - 2 * b @ a.T + (a**2).sum(1)
    return (train[1][distance.argmin(1)] == test[1]).mean()


@pytest.mark.parametrize(("name", "known"), [("digits", 0.9), ("clothes", 0.9)])
def test_ten_classes_that_can_be_told_apart(request, name, known):
    train, test = request.getfixturevalue(name)
    for images, labels in (train, test):
        assert images.shape == (len(labels), 28, 28) and images.dtype == np.uint8
        assert labels.dtype == np.int64 and np.bincount(labels).min() > 0.09 * len(labels)
        assert len({image.tobytes() for image in images}) == len(images)
        levels = np.bincount(images[:1000].ravel())
        assert (levels > 0).sum() > 200  # smooth, not black and white
        assert set(labels[:100]) == set(range(10))  # shuffled: the first N are of every class
    assert nearest(train, test) > known


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


def test_the_same_seed_gives_the_same_bytes(digits, clothes):
    again = garments.draw(train=1000, test=200)
    other = garments.draw(seed=1, train=1000, test=200)
    for part in (0, 1):
        assert np.array_equal(clothes[part][0], again[part][0])
        assert not np.array_equal(clothes[part][0], other[part][0])
    again = sample.digits()
    for part in (0, 1):
        for k in (0, 1):
            assert np.array_equal(digits[part][k], again[part][k])
