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
    published: tuple[str, ...] = ()  # SHA-256 of the PARTS, each as an IDX file
    in_any_order: tuple[str, str] = ("", "")  # the same of training and test images, sorted


PARTS = ("train-images", "train-labels", "test-images", "test-labels")
SETS = {
    "MNIST": Known(
        "MNIST",
        DIGITS,
        ("mnist_{}", "{}"),
        stand_in="digits",
        published=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        in_any_order=(
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
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        in_any_order=(
            "56016b2341e99c383df5cc0ed736f4afb12a6c90855d9f3d69981b294a0159ad",
            "b73438e78d64c9f337edad19c3eea888b49d646dbe27b46e4e3177218f3581e7",
        ),
    ),
    "KMNIST": Known("KMNIST", tuple("o ki su tsu na ha ma ya re wo".split()), ("kmnist_{}",)),
    "QMNIST": Known(
        "QMNIST",
        DIGITS,
        ("qmnist_{}",),
        ("qmnist-train", "qmnist-test"),
        "labels-idx2-int",
        stand_in="digits",
    ),
    "EMNIST-letters": Known(
        "EMNIST letters",
        tuple("abcdefghijklmnopqrstuvwxyz"),
        ("emnist-letters-{}",),
        ("emnist-letters-train", "emnist-letters-test"),
        first_label=1,
        by_columns=True,
    ),
    "EMNIST-digits": Known(
        "EMNIST digits",
        DIGITS,
        ("emnist-digits-{}",),
        ("emnist-digits-train", "emnist-digits-test"),
        by_columns=True,
        stand_in="digits",
    ),
}
