"""Where the images come from: CSV files, IDX files, a download, or the built-in stand-in.

Reading order: the known sets, `load`, the four sources. The file formats are read by csv_files and
idx_files, over the byte streams of archives. Everything read is checked before it is used, and
every fault is one line that begins with the path (for CSV `path:line:column`) or the parameter's
name and shows the value.
"""

import difflib
import hashlib
import os
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers import paths
from helpers.data import archives, cache, garments
from helpers.data import csv as csv_files
from helpers.data import download as vision
from helpers.data import idx as idx_files
from helpers.data import standin as sample

SOURCES = ("auto", "csv", "idx", "download", "sample")


class Images(NamedTuple):
    images: np.ndarray  # (N, 28, 28) uint8
    labels: np.ndarray | None  # (N,) int64, or None for a test file without labels


class Dataset(NamedTuple):
    name: str
    train: Images
    test: Images
    classes: tuple[str, ...]
    source: str  # "csv", "idx", "download" or "sample"
    where: str  # one line for the reader; never an absolute path unless the user gave one
    verified: bool  # exactly the published images with their labels, in any order
    real: bool  # False for the stand-in
    sha256: dict[str, str]  # of the whole arrays as IDX files, whatever train_limit says


class _Known(NamedTuple):
    """What is known of one set. Its torchvision class and split are the parts of its name."""

    classes: tuple[str, ...]
    csv: tuple[str, ...]  # stems; {} stands for train and test
    idx: tuple[str, str] = ("train", "t10k")  # beginnings of (train, test)
    idx_labels: str = "labels-idx1-ubyte"
    first_label: int = 0
    stand_in: str = ""
    published: tuple[str, ...] = ()  # SHA-256 of the PARTS
    in_any_order: tuple[str, str] = ("", "")  # `_in_any_order` of training and test images


PARTS = ("train-images", "train-labels", "test-images", "test-labels")
DIGITS = tuple("0123456789")
SETS = {
    "MNIST": _Known(
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
    "FashionMNIST": _Known(
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat")
        + ("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ("fashion-mnist_{}",),
        stand_in="garments",
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
    "KMNIST": _Known(tuple("o ki su tsu na ha ma ya re wo".split()), ("kmnist_{}",)),
    "QMNIST": _Known(
        DIGITS, ("qmnist_{}",), ("qmnist-train", "qmnist-test"), "labels-idx2-int", 0, "digits"
    ),
    "EMNIST-letters": _Known(
        tuple("abcdefghijklmnopqrstuvwxyz"),
        ("emnist-letters-{}",),
        ("emnist-letters-train", "emnist-letters-test"),
        first_label=1,
    ),
    "EMNIST-digits": _Known(
        DIGITS,
        ("emnist-digits-{}",),
        ("emnist-digits-train", "emnist-digits-test"),
        stand_in="digits",
    ),
}


class _Absent(FileNotFoundError):
    """Nothing of this source is there; `auto` then looks further. A damaged file is never this."""


def load(dataset="MNIST", source="auto", data_dir="", train_limit=0, need_test_labels=True):
    """Read one set, checked: a Dataset.

    source: "auto" takes the first of CSV, IDX, download, stand-in that is there; a file that is
    there but damaged is an error, never skipped, and so are other images than the published ones
    of a set whose SHA-256 is known. The others take only that one, whatever images it holds.
    data_dir: "" means $DATA_DIR, else the project's data/.
    train_limit: 0 takes every training image, N the first N.
    need_test_labels: False allows a test CSV without labels; test.labels is then None.
    Raises ValueError for a wrong parameter or a damaged file, OSError for one that will not open.
    """
    _one_of("dataset", dataset, SETS)
    _one_of("source", source, SOURCES)
    if type(train_limit) is not int or train_limit < 0:
        raise ValueError(f"train_limit must be an int of 0 (all) or more, got {train_limit!r}")
    if not isinstance(data_dir, str | os.PathLike) or "\0" in str(data_dir):
        raise ValueError(f"data_dir must be the path of a folder, got {data_dir!r}")
    root = paths.data_dir(data_dir)
    named = data_dir or ("$DATA_DIR" if os.environ.get("DATA_DIR") else "")
    if source in ("auto", "csv", "idx") and named and not root.is_dir():
        raise FileNotFoundError(f"data_dir {named}: no such folder: {root}")

    shown = Path(named or "data")
    for kind in SOURCES[1:] if source == "auto" else (source,):
        try:
            train, test, where = READERS[kind](dataset, root, shown, need_test_labels)
            break
        except _Absent as absent:
            if source != "auto":
                raise FileNotFoundError(str(absent)) from None
            if kind == "download" and SETS[dataset].stand_in:
                print(f"{absent}; using the stand-in, which is not the real set", flush=True)
            elif kind == "download":
                raise FileNotFoundError(f"{absent}; {_how_to_get(dataset, root)}") from None

    sha256 = _fingerprints(train, test)
    verified = kind != "sample" and _is_published(dataset, sha256, train, test)
    if source == "auto" and kind != "sample" and SETS[dataset].published and not verified:
        pairs = zip(PARTS, SETS[dataset].published, strict=True)
        part, wanted = next((p, digest) for p, digest in pairs if sha256.get(p) != digest)
        raise ValueError(
            f"{where}: not the published {dataset}: SHA-256 of {part} is "
            f"{sha256.get(part, 'missing')[:12]}, published {wanted[:12]}; "
            f"if these images are meant, say so with source={kind!r}"
        )
    if kind != "sample":
        train, test = _put_right(dataset, train), _put_right(dataset, test)
    if train_limit > len(train.images):
        raise ValueError(
            f"train_limit {train_limit} is more than the {len(train.images)} training images "
            f"in {where}"
        )
    if train_limit:
        train = Images(train.images[:train_limit].copy(), train.labels[:train_limit].copy())
        where += f", the first {train_limit:,} training images"
    classes = SETS[dataset].classes
    return Dataset(dataset, train, test, classes, kind, where, verified, kind != "sample", sha256)


def describe(data):
    """One line for the reader: what was read, from where, and whether it is the real thing."""
    if not data.real:
        state = "STAND-IN: not the real set"
    elif data.verified:
        same = tuple(data.sha256.get(part) for part in PARTS) == SETS[data.name].published
        state = "verified" if same else "verified, in another order than published"
    elif SETS[data.name].published:
        state = "not the published files"
    else:
        state = "not verified: no published SHA-256 is known here"
    counts = f"{len(data.train.images):,} training and {len(data.test.images):,} test images"
    return f"{data.name}: {counts}, source {data.source}: {data.where} ({state})"


def to_unit(images):
    """(...) uint8 array or tensor, any device -> float32 tensor in [0, 1], for the VAE."""
    return _tensor(images).float() / 255


def to_signed(images):
    """(...) uint8 array or tensor, any device -> float32 tensor in [-1, 1], the range of tanh."""
    return _tensor(images).float() / 127.5 - 1


def _tensor(images):
    import torch  # seconds; who only reads files need not wait for it

    tensor = torch.as_tensor(images)
    if tensor.dtype != torch.uint8:
        raise ValueError(f"images must be uint8 in 0..255, got {tensor.dtype}")
    return tensor


# The four sources: (train, test, where), or _Absent


def _from_csv(name, root, shown, need_test_labels):
    stems = SETS[name].csv
    # the plain names are good enough in a folder that bears the set's name
    tries = [(root / name, stem) for stem in dict.fromkeys((*stems, "{}"))]
    half = ""
    for folder, stem in tries + [(root, stem) for stem in stems]:
        both = [folder / f"{stem.format(part)}.csv" for part in ("train", "test")]
        train, test = (archives.first_there(path, ".gz", ".zip") for path in both)
        if train and test:
            where = f"{shown / train.relative_to(root)} and {test.name}"
            return _read_csv(name, train), _read_csv(name, test, need_test_labels), where
        if (train or test) and not half:
            missing, found = (both[1], train) if train else (both[0], test)
            half = f"{missing}: no such file ({OR_PACKED}), though {found.name} is there"
    if half:
        raise FileNotFoundError(f"{half}; a set needs both; {_how_to_get(name, root)}")
    wanted = " or ".join(f"{stem}.csv and {stem}.csv".format("train", "test") for stem in stems)
    raise _Absent(
        f"{root}: no CSV files of {name}: {wanted} ({OR_PACKED}), here or in {name}/; "
        f"{_how_to_get(name, root)}"
    )


def _read_csv(name, path, labels_needed=True):
    """Images of one CSV file, from the cache if the very same bytes were read before.

    The cache is keyed by the content's SHA-256, not by name, size and time: those can be the same
    for another content (cp -p, rsync, a coarse clock), and hashing 133 MB takes less than 0.3 s.
    """
    low, high = _label_range(name)
    before = archives.sha256(path)

    def parse():
        images, labels = csv_files.read(path, low, high)
        if archives.sha256(path) != before:
            raise OSError(f"{path}: changed while it was being read")
        return [images] if labels is None else [images, labels]

    images, *labels = cache.arrays(cache.key("csv 1", path.suffix, low, high, before), parse)
    if labels_needed and not labels:
        raise ValueError(
            f"{path}: {csv_files.PIXELS} fields per line, so no labels, and this run needs them; "
            "expected label first, then 784 pixels"
        )
    return _checked(path, images, *labels)


def _from_idx(name, root, shown, need_test_labels):
    files, there = _idx_files(name, root)
    missing = [files[part] for part in PARTS if there[part] is None]
    if missing:
        found = [path.name for path in there.values() if path]
        though = f", though {found[0]} is there" if found else ""
        raise (FileNotFoundError if found else _Absent)(
            f"{missing[0]}: no such file (nor .gz){though}; {_how_to_get(name, root)}"
        )
    low, high = _label_range(name)
    train, test = (
        _checked(images, *idx_files.read_pair(images, labels, low, high))
        for images, labels in ([there[p] for p in pair] for pair in (PARTS[:2], PARTS[2:]))
    )
    return train, test, str(shown / files[PARTS[0]].parent.relative_to(root))


def _from_download(name, root, shown, need_test_labels):
    """torchvision's files, fetched only if they are not all there."""
    files, there = _idx_files(name, root)
    if not all(there.values()):
        folder, _, split = name.partition("-")
        place = shown / folder / "raw"
        print(f"{name}: downloading with torchvision into {place} ...", flush=True)
        try:
            vision.download(folder, split, root, [path.name for path in files.values()])
        except OSError as error:
            raise _Absent(f"{name}: download failed: {error}") from error
    return _from_idx(name, root, shown, need_test_labels)


def _from_sample(name, root, shown, need_test_labels):
    kind = SETS[name].stand_in
    if not kind:
        raise _Absent(f"dataset {name} has no built-in stand-in; {_how_to_get(name, root)}")
    draw = {"digits": sample.digits, "garments": garments.draw}[kind]
    # the pictures are what this code and three packages make
    code = [Path(module.__file__).read_bytes() for module in (sample, garments)]
    versions = [metadata.version(package) for package in ("numpy", "pillow", "scikit-learn")]
    key = cache.key("sample", kind, *versions, *code)
    arrays = cache.arrays(key, lambda: [array for part in draw() for array in part])
    return Images(*arrays[:2]), Images(*arrays[2:]), sample.WHERE[kind]


OR_PACKED = "nor .gz nor .zip"
READERS = {"csv": _from_csv, "idx": _from_idx, "download": _from_download, "sample": _from_sample}


def _idx_files(name, root):
    """(part -> path as torchvision names it), (part -> that path or its .gz, or None)."""
    known = SETS[name]
    raw = root / name.partition("-")[0] / "raw"
    suffixes = ("images-idx3-ubyte", known.idx_labels)
    in_order = [raw / f"{start}-{suffix}" for start in known.idx for suffix in suffixes]
    files = dict(zip(PARTS, in_order, strict=True))
    there = {part: archives.first_there(path, ".gz") for part, path in files.items()}
    return files, there


def _how_to_get(name, root):
    stand_in = ", or use source='sample' for the built-in stand-in" if SETS[name].stand_in else ""
    return f"put {name} into {root} as data/README.md says, or use source='download'{stand_in}"


def _label_range(name):
    first = SETS[name].first_label
    return first, first + len(SETS[name].classes) - 1


def _checked(path, images, labels=None):
    """Refuse what cannot be a picture set: every image the same, or every pixel."""
    flat = images.min() == images.max()
    if flat or len(images) > 1 and (images == images[0]).all():
        what = "pixel" if flat else "image"
        raise ValueError(f"{path}: every {what} is the same (first value {images.flat[0]})")
    return Images(images, labels)


def _put_right(name, part):
    """EMNIST's images are stored by columns, and its letters are counted from 1."""
    images, labels = part
    if name.startswith("EMNIST"):
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    return Images(images, None if labels is None else labels - SETS[name].first_label)


def _fingerprints(*parts):
    arrays = zip(PARTS, [array for part in parts for array in part], strict=True)
    return {name: idx_files.sha256(a) for name, a in arrays if a is not None}


def _is_published(name, sha256, *parts):
    """Exactly the published images with their labels, in any order (Kaggle's have another)?"""
    known = SETS[name]
    if not known.published or tuple(sha256.get(part) for part in PARTS) == known.published:
        return bool(known.published)
    return tuple(map(_in_any_order, parts)) == known.in_any_order


def _in_any_order(part):
    """Hex SHA-256 of the rows (label, pixels), sorted; "" without labels."""
    if part.labels is None:
        return ""
    labels = part.labels.astype(np.uint8)[:, None]
    rows = np.hstack([labels, part.images.reshape(len(labels), -1)])
    return hashlib.sha256(b"".join(sorted(map(bytes, rows)))).hexdigest()


def _one_of(name, value, choices):
    if not isinstance(value, str) or value not in choices:
        plain = {choice.lower(): choice for choice in choices}
        near = difflib.get_close_matches(str(value).lower(), plain, 1, 0.5)
        hint = f"; did you mean {plain[near[0]]!r}?" if near else ""
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}{hint}")
