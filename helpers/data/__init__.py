"""Where the images come from: CSV files, IDX files, a download, or the built-in stand-in.

Reading order: `Dataset`, `load`, the four sources, what the classes are called. The formats are
read by csv and idx, what is known of each set stands in sets. Everything is checked before it is
used; a fault is one line that begins with the path or the parameter's name and shows the value.
"""

import difflib
import hashlib
import os
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers import paths
from helpers.data import archives, cache, classes, csv, download, idx, standin
from helpers.data.sets import PARTS, SETS

SOURCES = ("auto", "csv", "idx", "download", "sample")


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


class _Absent(FileNotFoundError):
    """Nothing of this source is there; `auto` then looks further. A damaged file is never this."""


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
    known = SETS[_one_of("dataset", dataset, SETS)]
    _one_of("source", source, SOURCES)
    if type(train_limit) is not int or train_limit < 0:
        raise ValueError(f"train_limit must be an int of 0 (all) or more, got {train_limit!r}")
    if not isinstance(data_dir, str | os.PathLike) or "\0" in str(data_dir):
        raise ValueError(f"data_dir must be the path of a folder, got {data_dir!r}")
    root = paths.data_dir(data_dir)
    named = data_dir or ("$DATA_DIR" if os.environ.get("DATA_DIR") else "")
    if source in ("auto", "csv", "idx") and named and not root.is_dir():
        raise FileNotFoundError(f"data_dir {named}: no such folder: {root}")

    for kind in SOURCES[1:] if source == "auto" else (source,):
        try:
            train, test, where, files = READERS[kind](dataset, root, need_test_labels)
            break
        except _Absent as absent:
            if source != "auto":
                raise FileNotFoundError(str(absent)) from None
            if kind == "download" and known.stand_in:
                print(f"{absent}; using the stand-in, which is not the real set", flush=True)
            elif kind == "download":
                raise FileNotFoundError(f"{absent}; {_how_to_get(dataset, root)}") from None
    where = where.replace(str(root), str(Path(named or "data")), 1)

    arrays = zip(PARTS, [*train, *test], strict=True)
    sha256 = {part: idx.sha256(array) for part, array in arrays if array is not None}
    verified = kind != "sample" and _is_published(known, sha256, train, test)
    if source == "auto" and kind != "sample" and known.published and not verified:
        pairs = zip(PARTS, known.published, strict=True)
        part, wanted = next((p, digest) for p, digest in pairs if sha256.get(p) != digest)
        raise ValueError(
            f"{where}: not the published {dataset}: SHA-256 of {part} is "
            f"{sha256.get(part, 'missing')[:12]}, published {wanted[:12]}; "
            f"if these images are meant, say so with source={kind!r}"
        )
    if kind == "sample":
        names, title = known.classes, f"stand-in {known.stand_in}"
    else:
        labels = train.labels, test.labels
        names, title = classes.names_and_title(known, verified, files, labels)
        train, test = _put_right(known, train), _put_right(known, test)
    if train_limit > len(train.images):
        raise ValueError(
            f"train_limit {train_limit} is more than the {len(train.images)} training images "
            f"in {where}"
        )
    if train_limit:
        train = Images(train.images[:train_limit].copy(), train.labels[:train_limit].copy())
        where += f", the first {train_limit:,} training images"
    if need_test_labels and (train.labels == train.labels[0]).all():
        only = names[train.labels[0]]
        raise ValueError(f"{where}: every training label is {only!r}, this run needs two or more")
    real = kind != "sample"
    return Dataset(dataset, train, test, names, kind, where, verified, real, sha256, title)


def check_enough(data, train=56, test=50):
    """Refuse a set of fewer images, of which no scores could be computed after the training."""
    for part, name, least in (("train", "training", train), ("test", "test", test)):
        found = len(getattr(data, part).images)
        if found < least:
            raise ValueError(f"{data.where}: {found} {name} images, scores need {least} or more")


def describe(data):
    """One line for the reader: what was read, from where, and whether it is the real thing."""
    known = SETS[data.name]
    if not data.real:
        state = "STAND-IN: not the real set"
    elif data.verified:
        same = tuple(data.sha256.get(part) for part in PARTS) == known.published
        state = "verified" if same else "verified, in another order than published"
    elif known.published or data.title != known.title:
        state = "not the published files"
    else:
        state = "not verified: no published SHA-256 is known here"
    own = state == "not the published files"
    name = f"{data.title}, in {len(data.classes)} classes, in place of {data.name}"
    counts = f"{len(data.train.images):,} training and {len(data.test.images):,} test images"
    return f"{name if own else data.name}: {counts}, source {data.source}: {data.where} ({state})"


# The four sources: (train, test, where, the two files with labels), or _Absent


def _from_csv(name, root, need_test_labels):
    stems = SETS[name].csv
    # the plain names are good enough in a folder that bears the set's name
    tries = [(root / name, stem) for stem in dict.fromkeys((*stems, "{}"))]
    half = ""
    for folder, stem in tries + [(root, stem) for stem in stems]:
        both = [folder / f"{stem.format(part)}.csv" for part in ("train", "test")]
        train, test = (archives.first_there(path, ".gz", ".zip") for path in both)
        if train and test:
            images = _read_csv(train), _read_csv(test, need_test_labels)
            return *images, f"{train} and {test.name}", (train, test)
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


def _read_csv(path, labels_needed=True):
    """Images of one CSV file, from the cache if the very same bytes were read before.

    The cache is keyed by the content's SHA-256, not by name, size and time: those can be the same
    for another content (cp -p, rsync, a coarse clock), and hashing 133 MB takes less than 0.3 s.
    """
    before = archives.sha256(path)

    def parse():
        images, labels = csv.read(path)
        if archives.sha256(path) != before:
            raise OSError(f"{path}: changed while it was being read")
        return [images] if labels is None else [images, labels]

    images, *labels = cache.arrays(cache.key("csv 2", path.suffix, before), parse)
    if labels_needed and not labels:
        raise ValueError(
            f"{path}: {csv.PIXELS} fields per line, so no labels, and this run needs them; "
            "expected label first, then 784 pixels"
        )
    return _checked(path, images, *labels)


def _from_idx(name, root, need_test_labels):
    wanted, there = _idx_files(name, root / name.partition("-")[0] / "raw")
    if not any(there) and SETS[name].package:
        there = _idx_files(name, Path(SETS[name].package))[1]
    if not all(there):
        found = [path.name for path in there if path]
        though = f", though {found[0]} is there" if found else ""
        raise (FileNotFoundError if found else _Absent)(
            f"{wanted[there.index(None)]}: no such file (nor .gz){though}; "
            f"{_how_to_get(name, root)}"
        )
    train, test = (_checked(pair[0], *idx.read_pair(*pair)) for pair in (there[:2], there[2:]))
    return train, test, str(there[0].parent), there[1::2]


def _from_download(name, root, need_test_labels):
    """torchvision's files, fetched only if they are not all there."""
    folder, _, split = name.partition("-")
    wanted, there = _idx_files(name, root / folder / "raw")
    if not all(there):
        print(f"{name}: downloading with torchvision into {folder}/raw ...", flush=True)
        try:
            download.download(folder, split, root, [path.name for path in wanted])
        except OSError as error:
            raise _Absent(f"{name}: download failed: {error}") from error
    return _from_idx(name, root, need_test_labels)


def _from_sample(name, root, need_test_labels):
    kind = SETS[name].stand_in
    if not kind:
        raise _Absent(f"dataset {name} has no built-in stand-in; {_how_to_get(name, root)}")
    # the pictures are what this code and four packages make
    code = Path(standin.__file__).read_bytes()
    versions = [metadata.version(name) for name in ("numpy", "pillow", "scipy", "scikit-learn")]
    draw = getattr(standin, kind)
    key = cache.key("sample", kind, *versions, code)
    arrays = cache.arrays(key, lambda: [array for part in draw() for array in part])
    return Images(*arrays[:2]), Images(*arrays[2:]), standin.WHERE[kind], ()


OR_PACKED = "nor .gz nor .zip"
READERS = {"csv": _from_csv, "idx": _from_idx, "download": _from_download, "sample": _from_sample}


def _idx_files(name, folder):
    """(the four paths as torchvision names them, each of them or its .gz or None)."""
    suffixes = ("images-idx3-ubyte", SETS[name].idx_labels)
    wanted = [folder / f"{start}-{suffix}" for start in SETS[name].idx for suffix in suffixes]
    return wanted, [archives.first_there(path, ".gz") for path in wanted]


def _how_to_get(name, root):
    stand_in = ", or use source='sample' for the built-in stand-in" if SETS[name].stand_in else ""
    return f"put {name} into {root} as data/README.md says, or use source='download'{stand_in}"


def _checked(path, images, labels=None):
    """Refuse what cannot be a picture set: every image the same, or every pixel."""
    flat = images.min() == images.max()
    if flat or len(images) > 1 and (images == images[0]).all():
        what = "pixel" if flat else "image"
        raise ValueError(f"{path}: every {what} is the same (first value {images.flat[0]})")
    return Images(images, labels)


def _put_right(known, part):
    """(N, 28, 28) by rows, labels from 0: EMNIST's come by columns, its letters from 1."""
    images, labels = part
    if known.by_columns:
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    return Images(images, None if labels is None else labels - known.first_label)


def _is_published(known, sha256, *parts):
    """Exactly the published images with their labels, in any order (Kaggle's have another)?"""
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
    return value
