"""Where the images come from: CSV files, IDX files, a download, or the built-in stand-in.

Reading order: `Dataset`, `load`, then what it calls, in that order. The formats are read by csv
and idx, what is known of each set stands in sets, what the labels are called is told by classes.
Everything is checked before it is used; a fault is one line that begins with the path or the
parameter's name and shows the value.
"""

import hashlib
import os
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers import paths
from helpers.data import archives, cache, classes, csv, download, idx, standin
from helpers.data.sets import SETS, own
from helpers.params import SOURCES

PARTS = ("train-images", "train-labels", "test-images", "test-labels")


class Images(NamedTuple):
    images: np.ndarray  # (N, 28, 28) uint8
    labels: np.ndarray | None  # (N,) int64 of 0..classes - 1, or None for a test file without


class Dataset(NamedTuple):
    name: str
    train: Images
    test: Images
    classes: tuple[str, ...]  # a name for each label, and no others
    source: str  # "csv", "idx", "download" or "sample"
    where: str  # one line for the reader; absolute only if the user or the system gave it so
    verified: bool  # exactly the published images with their labels, in any order
    real: bool  # False for the stand-in
    sha256: dict[str, str]  # of the whole arrays as IDX files, whatever train_limit says
    title: str = ""  # for captions and headings: "Fashion-MNIST", "stand-in digits", "own images"


def load(dataset="MNIST", source="auto", data_dir="", train_limit=0, need_test_labels=True):
    """Read one set, checked: a Dataset.

    source: "auto" takes the first of CSV, IDX, download, stand-in that is there; a file that is
    there but damaged is an error, never skipped, and so are other images than the published ones
    of a set whose SHA-256 is known. The others take only that one, whatever images it holds.
    data_dir: "" means $DATA_DIR, else the project's data/.
    train_limit: 0 takes every training image, N the first N.
    need_test_labels: False is for a run that uses no labels: those of a test CSV may be missing
    (test.labels is then None), and those of the training images may all be the same.
    Raises ValueError for a wrong parameter or a damaged file, OSError for one that will not open.
    """
    for name, value, choices in ("dataset", dataset, tuple(SETS)), ("source", source, SOURCES):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    known, root = SETS[dataset], paths.data_dir(data_dir)
    named = data_dir or ("$DATA_DIR" if os.environ.get("DATA_DIR") else "")
    if source in ("auto", "csv", "idx") and named and not root.is_dir():
        raise FileNotFoundError(f"data_dir {named}: no such folder: {root}")

    kind, files = _find(dataset, source, root)
    if kind == "sample":
        train, test, where = *_stand_in(known.stand_in), standin.WHERE[known.stand_in]
    elif kind == "csv":
        train, test, where = *map(_read_csv, files), f"{files[0]} and {files[1].name}"
    else:
        train, test = Images(*idx.read_pair(*files[:2])), Images(*idx.read_pair(*files[2:]))
        where, files = str(files[0].parent), files[1::2]
    where = where.replace(str(root), str(Path(named or "data")), 1)
    arrays = zip(PARTS, [*train, *test], strict=True)
    sha256 = {part: idx.sha256(array) for part, array in arrays if array is not None}

    real, verified = kind != "sample", False
    names, title = known.classes, f"stand-in {known.stand_in}"
    if real:
        _check(files[0], train)
        _check(files[1], test, need_test_labels)
        digests = _digest(train), _digest(test)
        verified = digests == known.published
        if source == "auto" and known.published and not verified:
            i = int(digests[0] == known.published[0])
            raise ValueError(
                f"{where}: not the published {dataset}: SHA-256 of {('training', 'test')[i]} rows "
                f"is {digests[i][:12]}, published {known.published[i][:12]}; "
                f"if these images are meant, say so with source={kind!r}"
            )
        labels = train.labels, test.labels
        names, title = classes.names_and_title(known, verified, files, labels)
        train, test = _put_right(known, train), _put_right(known, test)
    if train_limit > len(train.images):
        there = f"{len(train.images)} training images in {where}"
        raise ValueError(f"train_limit {train_limit} is more than the {there}")
    if train_limit:
        train = Images(*(array[:train_limit].copy() for array in train))
        where += f", the first {train_limit:,} training images"
    if need_test_labels and (train.labels == train.labels[0]).all():
        only = names[train.labels[0]]
        raise ValueError(f"{where}: every training label is {only!r}, this run needs two or more")
    return Dataset(dataset, train, test, names, kind, where, verified, real, sha256, title)


def check_enough(data, train=56, test=50):
    """Refuse a set of fewer images, of which no scores could be computed after the training."""
    for part, name, least in (data.train, "training", train), (data.test, "test", test):
        found = len(part.images)
        if found < least:
            raise ValueError(f"{data.where}: {found} {name} images, scores need {least} or more")


def describe(data):
    """One line for the reader: what was read, from where, and whether it is the real thing."""
    name = data.name
    if not data.real:
        state = "STAND-IN: not the real set"
    elif data.verified:
        state = "verified"
    elif own(data.name, data.title, data.real, data.verified):
        state = "not the published files"
        name = f"{data.title}, in {len(data.classes)} classes, in place of {name}"
    else:
        state = "not verified: no published SHA-256 is known here"
    counts = f"{len(data.train.images):,} training and {len(data.test.images):,} test images"
    return f"{name}: {counts}, source {data.source}: {data.where} ({state})"


def _find(name, source, root):
    """(the source that is there, its files): two for CSV, four for IDX and download."""
    known, raw = SETS[name], root / name.partition("-")[0] / "raw"
    # the plain names are good enough in a folder that bears the set's name
    stems = [(root / name, stem) for stem in dict.fromkeys((*known.csv, "{}"))]
    csv_files = [
        [folder / f"{stem.format(part)}.csv" for part in ("train", "test")]
        for folder, stem in stems + [(root, stem) for stem in known.csv]
    ]
    suffixes = ("images-idx3-ubyte", known.idx_labels)
    names = [f"{start}-{suffix}" for start in known.idx for suffix in suffixes]
    folders = [raw, Path(known.package)] if known.package else [raw]
    idx_files = [[folder / name for name in names] for folder in folders]
    how = f"put {name} into {root} as data/README.md says, or use source='download'"
    how += ", or use source='sample' for the built-in stand-in" if known.stand_in else ""

    if source in ("auto", "csv") and (files := _there(csv_files, how, ".gz", ".zip")):
        return "csv", files
    if source in ("auto", "idx") and (files := _there(idx_files, how, ".gz")):
        return "idx", files
    if source in ("auto", "download"):
        try:
            if not all(archives.first_there(path, ".gz") for path in idx_files[0]):
                named = source == "download" or not known.stand_in
                download.download(name, root, names, named)
            return "download", _there(idx_files[:1], how, ".gz")
        except OSError as error:
            if source == "download" or not known.stand_in:
                raise OSError(f"{name}: download failed: {error}; {how}") from error
            instead = "using the stand-in, not the real set, which data/README.md says how to get"
            print(f"{name}: download failed: {error}; {instead}")
    if source in ("auto", "sample") and known.stand_in:
        return "sample", None
    if source == "sample":
        raise FileNotFoundError(f"dataset {name} has no built-in stand-in; {how}")
    looked = csv_files[0][0] if source == "csv" else idx_files[0][0]
    raise FileNotFoundError(f"{looked}: no such file; {how}")


def _there(choices, how, *endings):
    """The first group of files that is there, packed or not; None if there is none of any."""
    for wanted in choices:
        files = [archives.first_there(path, *endings) for path in wanted]
        if all(files):
            return files
        if any(files):
            lost = wanted[files.index(None)]
            raise FileNotFoundError(f"{lost}: no such file, though others of its set are; {how}")
    return None


def _read_csv(path):
    """The images of a CSV file, from the cache if the very same bytes were read before."""
    with archives.opened(path, unpack=False) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()

    def parse():
        return [array for array in csv.read(path) if array is not None]

    images, *labels = cache.arrays(f"csv-{digest}{path.suffix}", parse)
    return Images(images, labels[0] if labels else None)


def _stand_in(kind):
    # the pictures are what this code and four packages make
    versions = [metadata.version(name) for name in ("numpy", "pillow", "scipy", "scikit-learn")]
    made_by = hashlib.sha256(Path(standin.__file__).read_bytes() + repr(versions).encode())
    draw = getattr(standin, kind)
    arrays = cache.arrays(f"{kind}-{made_by.hexdigest()}", lambda: [*draw()[0], *draw()[1]])
    return Images(*arrays[:2]), Images(*arrays[2:])


def _check(path, part, labels_needed=True):
    if labels_needed and part.labels is None:
        raise ValueError(f"{path}: 784 fields per line: no labels, and this run needs them")
    if (part.images == part.images[0]).all():
        raise ValueError(f"{path}: every image is the same")


def _put_right(known, part):
    """(N, 28, 28) by rows, labels from 0: EMNIST's come by columns, its letters from 1."""
    images, labels = part
    if known.by_columns:
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    return Images(images, None if labels is None else labels - known.first_label)


def _digest(part):
    """Hex SHA-256 of the rows (label, pixels) in sorted order: Kaggle's files have another."""
    if part.labels is None:
        return "without labels"
    labels = part.labels.astype(np.uint8)[:, None]
    rows = np.hstack([labels, part.images.reshape(len(labels), -1)])
    return hashlib.sha256(b"".join(sorted(map(bytes, rows)))).hexdigest()
