import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from helpers.data import standin

MADE = {
    "digits": lambda: standin.digits(),
    "garments": lambda **more: standin.garments(train=1000, test=200, **more),
}


@pytest.mark.parametrize("name", MADE)
def test_ten_classes_that_can_be_told_apart(name):
    (images, labels), (unseen, wanted) = MADE[name]()
    for some, of in (images, labels), (unseen, wanted):
        assert some.shape == (len(of), 28, 28) and some.dtype == np.uint8
        assert of.dtype == np.int64 and np.bincount(of).min() > 0.09 * len(of)
        assert len({image.tobytes() for image in some}) == len(some)
        assert set(of[:100]) == set(range(10))  # shuffled: the first N are of every class
    fit = RidgeClassifier().fit(images[:2000].reshape(-1, 784) / 255, labels[:2000])
    assert fit.score(unseen.reshape(-1, 784) / 255, wanted) > 0.8


def test_the_same_seed_gives_the_same_bytes():
    first, again, other = (MADE["garments"](seed=seed)[0][0] for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()
