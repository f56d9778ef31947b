"""What is known of each set: a row each. Everything that differs between them stands here."""

from typing import NamedTuple

DIGITS = tuple("0123456789")


class Known(NamedTuple):
    title: str
    classes: tuple[str, ...]
    csv: tuple[str, ...]  # stems; {} stands for train and test
    idx: tuple[str, str] = ("train", "t10k")  # beginnings of (train, test)
    idx_labels: str = "labels-idx1-ubyte"
    first_label: int = 0
    by_columns: bool = False  # how the pixels of an image are stored
    stand_in: str = ""
    package: str = ""  # where Debian's and Ubuntu's package of the set has its IDX files
    published: tuple[str, ...] = ()  # helpers.data._digest of (training, test) images


SETS = {
    "MNIST": Known(
        "MNIST", DIGITS, ("mnist_{}", "{}"), stand_in="digits",
        published=(
            "da6370735bf1d490f086dde49c15f2ed0480ad05dc7c70abf5d36bf471d5e312",
            "0c7bc63f656fb2440dc2b5bea4ff3ac8632e305b73ec1dc88141a32d36204fac",
        ),
    ),
    "FashionMNIST": Known(
        "Fashion-MNIST",
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat")
        + ("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ("fashion-mnist_{}",),
        stand_in="garments",
        package="/usr/share/datasets/fashion-mnist",
        published=(
            "56016b2341e99c383df5cc0ed736f4afb12a6c90855d9f3d69981b294a0159ad",
            "b73438e78d64c9f337edad19c3eea888b49d646dbe27b46e4e3177218f3581e7",
        ),
    ),
    "KMNIST": Known("KMNIST", tuple("o ki su tsu na ha ma ya re wo".split()), ("kmnist_{}",)),
    "QMNIST": Known(
        "QMNIST", DIGITS, ("qmnist_{}",), ("qmnist-train", "qmnist-test"), "labels-idx2-int",
        stand_in="digits",
    ),
    "EMNIST-letters": Known(
        "EMNIST letters", tuple("abcdefghijklmnopqrstuvwxyz"), ("emnist-letters-{}",),
        ("emnist-letters-train", "emnist-letters-test"), first_label=1, by_columns=True,
    ),
    "EMNIST-digits": Known(
        "EMNIST digits", DIGITS, ("emnist-digits-{}",),
        ("emnist-digits-train", "emnist-digits-test"), by_columns=True, stand_in="digits",
    ),
}  # fmt: skip


def own(name, title, real, verified):
    """Are images somebody's own, under the name of a set that they are not?"""
    known = SETS.get(name)
    if not known or not real or verified:
        return False
    return bool(known.published) or title != known.title
