"""Where the images come from: CSV files, IDX files, a download, or the built-in stand-in.

Reading order: `load`, then the four sources, the two file formats, the byte stream below them,
the cache. Everything read is checked before it is used, and every fault is one line that begins
with the path (for CSV `path:line:column`) or the parameter's name and shows the value.
"""

import contextlib
import difflib
import hashlib
import io
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers import paths, sample, vision

SOURCES = ("auto", "csv", "idx", "download", "sample")
SIDE, PIXELS = 28, 784
MAX_IMAGES = 1_000_000  # more than any of these sets; a damaged header may claim 2^31
BLOCK = 1 << 20  # bytes taken from a stream at a time


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
    verified: bool  # all four arrays are those of the published files
    real: bool  # False for the stand-in
    sha256: dict[str, str]  # of the whole arrays as IDX files, whatever train_limit says


class _Known(NamedTuple):
    """What is known of one set: its classes, its file names, its published SHA-256."""

    classes: tuple[str, ...]
    csv: tuple[tuple[str, str], ...]  # stems of (train, test)
    folder: str = ""  # torchvision's folder and class; "" means the set's own name
    prefix: tuple[str, str] = ("train", "t10k")  # of the IDX files
    label_suffix: str = "labels-idx1-ubyte"
    split: str = ""  # EMNIST's
    first_label: int = 0
    stand_in: str = ""
    published: tuple[str, ...] = ()  # train images, train labels, test images, test labels


DIGITS = tuple("0123456789")
PARTS = ("train-images", "train-labels", "test-images", "test-labels")
SETS = {
    "MNIST": _Known(
        DIGITS,
        (("mnist_train", "mnist_test"), ("train", "test")),
        stand_in="digits",
        published=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "FashionMNIST": _Known(
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat")
        + ("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        (("fashion-mnist_train", "fashion-mnist_test"),),
        stand_in="garments",
        published=(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    "KMNIST": _Known(
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        (("kmnist_train", "kmnist_test"),),
    ),
    "QMNIST": _Known(
        DIGITS,
        (("qmnist_train", "qmnist_test"),),
        prefix=("qmnist-train", "qmnist-test"),
        label_suffix="labels-idx2-int",
        stand_in="digits",
    ),
    "EMNIST-letters": _Known(
        tuple("abcdefghijklmnopqrstuvwxyz"),
        (("emnist-letters-train", "emnist-letters-test"),),
        folder="EMNIST",
        prefix=("emnist-letters-train", "emnist-letters-test"),
        split="letters",
        first_label=1,
    ),
    "EMNIST-digits": _Known(
        DIGITS,
        (("emnist-digits-train", "emnist-digits-test"),),
        folder="EMNIST",
        prefix=("emnist-digits-train", "emnist-digits-test"),
        split="digits",
        stand_in="digits",
    ),
}


class _Absent(FileNotFoundError):
    """Nothing of this source is there; `auto` then looks further. A damaged file is never this."""


def load(dataset="MNIST", source="auto", data_dir="", train_limit=0, need_test_labels=True):
    """Read one set, checked: a Dataset.

    source: "auto" takes the first of CSV, IDX, download, stand-in that is there; a file that is
    there but damaged is an error, never skipped. The others take only that one.
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
    verified = tuple(sha256.get(part) for part in PARTS) == SETS[dataset].published
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
        state = "verified"
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
    known = SETS[name]
    plain = ("train", "test")  # good enough in a folder that bears the set's name
    candidates = [(root / name, stems) for stems in dict.fromkeys((*known.csv, plain))]
    candidates += [(root, stems) for stems in known.csv]
    half = ""
    for folder, stems in candidates:
        files = [[folder / f"{stem}.csv{ending}" for ending in ENDINGS] for stem in stems]
        train, test = map(_first, files)
        if train and test:
            where = f"{shown / train.relative_to(root)} and {test.name}"
            return (
                _read_csv(train, known, labels_needed=True),
                _read_csv(test, known, labels_needed=need_test_labels),
                where,
            )
        if (train or test) and not half:
            missing = files[1 if train else 0][0]
            half = f"{missing}: no such file ({OR_PACKED}), though {(train or test).name} is there"
    if half:
        raise FileNotFoundError(f"{half}; a set needs both; {_how_to_get(name, root)}")
    wanted = " or ".join(" and ".join(f"{stem}.csv" for stem in stems) for stems in known.csv)
    raise _Absent(
        f"{root}: no CSV files of {name}: {wanted} ({OR_PACKED}), here or in {name}/; "
        f"{_how_to_get(name, root)}"
    )


def _from_idx(name, root, shown, need_test_labels):
    files, there = _idx_files(name, root)
    missing = [files[part] for part in PARTS if there[part] is None]
    if missing:
        found = [path.name for path in there.values() if path]
        though = f", though {found[0]} is there" if found else ""
        raise (FileNotFoundError if found else _Absent)(
            f"{missing[0]}: no such file (nor .gz){though}; {_how_to_get(name, root)}"
        )
    train, test = (
        _read_idx_pair(SETS[name], there[f"{part}-images"], there[f"{part}-labels"])
        for part in ("train", "test")
    )
    return train, test, str(shown / files[PARTS[0]].parent.relative_to(root))


def _from_download(name, root, shown, need_test_labels):
    """torchvision's files, fetched only if they are not all there."""
    files, there = _idx_files(name, root)
    raw = files[PARTS[0]].parent
    if not all(there.values()):
        place = shown / raw.relative_to(root)
        print(f"{name}: downloading with torchvision into {place} ...", flush=True)
        try:
            _download(name, root, raw, [path.name for path in files.values()])
        except OSError as error:
            raise _Absent(f"{name}: download failed: {error}") from error
    return _from_idx(name, root, shown, need_test_labels)


def _download(name, root, raw, names):
    """Fetch into a folder aside, then move the whole files: half a download never counts."""
    known = SETS[name]
    folder = known.folder or name
    root.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder}-", suffix=".part", dir=root))
    try:
        vision.fetch(folder, known.split, aside)
        kept = aside / "kept"
        kept.mkdir()
        for file in names:
            os.replace(aside / folder / "raw" / file, kept / file)
        raw.parent.mkdir(exist_ok=True)
        try:
            os.replace(kept, raw)  # all four at once, where there was nothing
        except OSError:
            for file in names:
                os.replace(kept / file, raw / file)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _from_sample(name, root, shown, need_test_labels):
    kind = SETS[name].stand_in
    if not kind:
        raise _Absent(f"dataset {name} has no built-in stand-in; {_how_to_get(name, root)}")
    code = Path(sample.__file__).read_bytes()  # the pictures are what this and three packages make
    versions = [metadata.version(package) for package in ("numpy", "pillow", "scikit-learn")]
    key = _key("sample", kind, *versions, code)
    arrays = _cached(key, lambda: [a for part in getattr(sample, kind)() for a in part])
    return Images(*arrays[:2]), Images(*arrays[2:]), sample.WHERE[kind]


READERS = {"csv": _from_csv, "idx": _from_idx, "download": _from_download, "sample": _from_sample}


def _first(candidates):
    """The first path that is there, else None; a dangling link or locked folder is not nothing."""
    for path in candidates:
        try:
            os.lstat(path)
            return path
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise type(error)(f"{path}: {error.strerror}") from None
    return None


def _idx_files(name, root):
    """(part -> path as torchvision names it), (part -> that path or its .gz, or None)."""
    known = SETS[name]
    raw = root / (known.folder or name) / "raw"
    suffixes = ("images-idx3-ubyte", known.label_suffix)
    order = [raw / f"{prefix}-{suffix}" for prefix in known.prefix for suffix in suffixes]
    files = dict(zip(PARTS, order, strict=True))
    there = {part: _first((path, Path(f"{path}.gz"))) for part, path in files.items()}
    return files, there


def _how_to_get(name, root):
    stand_in = ", or use source='sample' for the built-in stand-in" if SETS[name].stand_in else ""
    return f"put {name} into {root} as data/README.md says, or use source='download'{stand_in}"


def _put_right(name, part):
    """EMNIST's images are stored by columns, and its letters are counted from 1."""
    images, labels = part
    if SETS[name].split:
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    return Images(images, None if labels is None else labels - SETS[name].first_label)


def _one_of(name, value, choices):
    if not isinstance(value, str) or value not in choices:
        plain = {choice.lower(): choice for choice in choices}
        near = difflib.get_close_matches(str(value).lower(), plain, 1, 0.5)
        hint = f"; did you mean {plain[near[0]]!r}?" if near else ""
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}{hint}")


def _check_images(path, images):
    """Refuse what cannot be a picture set: every image the same, or every pixel."""
    same = len(images) > 1 and np.array_equal(images, np.broadcast_to(images[0], images.shape))
    if same or images.min() == images.max():
        what = "pixel" if images.min() == images.max() else "image"
        raise ValueError(f"{path}: every {what} is the same (first value {images.flat[0]})")


def _fingerprints(train, test):
    """SHA-256 of the arrays as the IDX files that hold them; labels as unsigned bytes."""
    found = {}
    for name, (images, labels) in (("train", train), ("test", test)):
        digest = hashlib.sha256(struct.pack(">4I", 0x803, *images.shape))
        digest.update(images)
        found[f"{name}-images"] = digest.hexdigest()
        if labels is not None:
            digest = hashlib.sha256(struct.pack(">2I", 0x801, len(labels)))
            digest.update(labels.astype(np.uint8))
            found[f"{name}-labels"] = digest.hexdigest()
    return found


# IDX: a magic number (type and number of dimensions), the dimensions, the values; all big-endian


def _read_idx_pair(known, images_path, labels_path):
    images = _read_idx(images_path, (SIDE, SIDE), np.uint8)
    if known.label_suffix == "labels-idx2-int":  # QMNIST: the class is the first of 8 numbers
        labels = _read_idx(labels_path, (8,), np.dtype(">i4"))[:, 0].astype(np.int64)
    else:
        labels = _read_idx(labels_path, (), np.uint8).astype(np.int64)
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_path}: {len(labels)} labels, but {len(images)} images in {images_path}"
        )
    low, high = known.first_label, known.first_label + len(known.classes) - 1
    wrong = np.flatnonzero((labels < low) | (labels > high))
    if len(wrong):
        value = labels[wrong[0]]
        raise ValueError(f"{labels_path}: row {wrong[0]}: label {value}, expected {low}..{high}")
    _check_images(images_path, images)
    return Images(images, labels)


def _read_idx(path, shape, dtype):
    """An IDX file of N items of this shape and type -> (N, *shape); header checked first."""
    dtype = np.dtype(dtype)
    magic = ({1: 8, 4: 12}[dtype.itemsize] << 8) | (1 + len(shape))
    start = 4 * (2 + len(shape))
    blocks = _stream(path)
    data = bytearray()
    while len(data) < start and (block := next(blocks, None)) is not None:
        data += block
    if len(data) >= 4 and struct.unpack(">I", data[:4])[0] != magic:
        raise ValueError(f"{path}: magic number {data[:4].hex()}, expected {magic:08x}")
    if len(data) < start:
        raise ValueError(f"{path}: {len(data)} bytes, an IDX header has {start}")
    count, *found = struct.unpack(f">{1 + len(shape)}I", data[4:start])
    if tuple(found) != shape:
        raise ValueError(f"{path}: items of {_by(found)}, expected {_by(shape)}")
    if not 0 < count <= MAX_IMAGES:
        raise ValueError(f"{path}: header says {count} items, expected 1..{MAX_IMAGES}")
    size = start + count * dtype.itemsize * int(np.prod(shape, dtype=int))
    told = f"header says {_by((count, *shape))}, so {size} bytes"
    if path.suffix != ".gz" and os.path.getsize(path) != size:
        raise ValueError(f"{path}: {told}, but the file has {os.path.getsize(path)}")
    try:
        for block in blocks:
            data += block
            if len(data) > size:
                break
    except ValueError as error:
        raise ValueError(f"{error}; its {told}") from None
    if len(data) != size:
        more = "more" if len(data) > size else len(data)
        raise ValueError(f"{path}: {told}, but it holds {more}")
    return np.frombuffer(data, dtype, offset=start).reshape(count, *shape)


def _by(shape):
    return "x".join(str(n) for n in shape) or "1"


# CSV: a header or none, then one image per line, `label` first


HEADERS = {
    "label,pixel1..pixel784": [f"pixel{i}" for i in range(1, PIXELS + 1)],
    "label,pixel0..pixel783": [f"pixel{i}" for i in range(PIXELS)],
    "label,1x1..28x28": [f"{r}x{c}" for r in range(1, SIDE + 1) for c in range(1, SIDE + 1)],
}
LONGEST_LINE = 1 << 16  # a header of quoted names has about 10,000 bytes


def _read_csv(path, known, labels_needed):
    """Images of one CSV file, from the cache if the very same bytes were read before.

    The cache is keyed by the content's SHA-256, not by name, size and time: those can be the same
    for another content (cp -p, rsync, a coarse clock), and hashing 133 MB takes less than 0.3 s.
    """
    low, high = known.first_label, known.first_label + len(known.classes) - 1
    before = _digest(path)
    key = _key("csv 1", "".join(path.suffixes[-1:]), low, high, before)

    def parse():
        images, labels = _parse_csv(path, low, high)
        if _digest(path) != before:
            raise OSError(f"{path}: changed while it was being read")
        return [images] if labels is None else [images, labels]

    images, *labels = _cached(key, parse)
    if labels_needed and not labels:
        raise ValueError(
            f"{path}: {PIXELS} fields per line, so no labels, and this run needs them; "
            "expected label first, then 784 pixels"
        )
    _check_images(path, images)
    return Images(images, labels[0] if labels else None)


def _parse_csv(path, low, high):
    """One pass in blocks of whole lines -> (N, 28, 28) uint8 and (N,) int64 or None."""
    rest, line, width, done = b"", 1, 0, []
    for block in _stream(path):
        rest += block
        if line == 1 and rest[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise ValueError(f"{path}:1: UTF-16 text, expected plain ASCII or UTF-8")
        cut = rest.rfind(b"\n") + 1
        if not cut and len(rest) > LONGEST_LINE:
            _refuse_line(path, line, rest)
        if not cut:
            continue
        text, rest = rest[:cut], rest[cut:]
        if line == 1:
            text = text.removeprefix(b"\xef\xbb\xbf")
            first, _, others = text.partition(b"\n")
            width, is_header = _first_line(path, first.removesuffix(b"\r"))
            if is_header:
                line, text = 2, others
        if text:
            rows = _parse_rows(path, line, text.replace(b"\r\n", b"\n"), width, low, high)
            done.append(rows)
            line += len(rows)
        if line > MAX_IMAGES:
            raise ValueError(f"{path}:{line}: more than {MAX_IMAGES} rows")
    if rest:  # taking it could mean taking 25 for a 253 that was cut
        _refuse_line(path, line, rest)
    if not done:
        raise ValueError(f"{path}: no rows")
    table = np.concatenate(done)
    images = np.ascontiguousarray(table[:, -PIXELS:]).reshape(-1, SIDE, SIDE)
    return images, table[:, 0].astype(np.int64) if width > PIXELS else None


def _first_line(path, text):
    """(fields per line, is it a header) of the first line; refuses any but the known headers."""
    if b"\0" in text or b"\r" in text or text.count(b'"') % 2:
        _refuse_line(path, 1, text)
    cells = text.decode("utf-8", "replace").split(",")
    names = [cell.strip('"').lower() for cell in cells]
    is_header = 2 * sum(any(map(str.isalpha, name)) for name in names) > len(names)
    if not is_header:
        if len(names) not in (PIXELS, PIXELS + 1):
            raise ValueError(
                f"{path}:1: {len(names)} fields, expected {PIXELS + 1} (label and {PIXELS} pixels)"
            )
        return len(names), False
    for wanted in HEADERS.values():
        if names in (["label", *wanted], wanted):
            return len(names), True
    raise ValueError(
        f"{path}:1: header of {len(names)} names beginning {','.join(names[:3])[:60]!r}, "
        f"expected {' or '.join(HEADERS)}, or none"
    )


def _parse_rows(path, line, text, width, low, high):
    """(rows, width) uint8 from whole lines of numbers 0..255.

    Works on all bytes at once: every byte must be a digit, or a separator in its place, so nothing
    is guessed, filled in or shifted. Whatever fails that is explained by `_refuse_rows`.
    """
    raw = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(raw < ord("0"))  # commas and line ends sort before the digits
    rows = len(ends) // width
    marks = raw[ends]
    length = np.diff(ends, prepend=-1) - 1
    grid = marks[: rows * width].reshape(rows, width)
    if (
        len(ends) != rows * width
        or (grid[:, :-1] != ord(",")).any()
        or (grid[:, -1] != ord("\n")).any()
        or raw.max() > ord("9")
        or length.min() < 1
        or length.max() > 3
    ):
        _refuse_rows(path, line, text, width, low, high)
    value = raw[ends - 1].astype(np.int16) - ord("0")
    value += 10 * np.where(length > 1, raw[ends - 2].astype(np.int16) - ord("0"), 0)
    value += 100 * np.where(length > 2, raw[ends - 3].astype(np.int16) - ord("0"), 0)
    value = value.reshape(rows, width)
    first = value[:, 0]
    if value.max() > 255 or (width > PIXELS and (first.min() < low or first.max() > high)):
        _refuse_rows(path, line, text, width, low, high)
    return value.astype(np.uint8)


def _refuse_rows(path, line, text, width, low, high):
    """Name the first thing that is wrong: line, column, value."""
    for number, row in enumerate(text.split(b"\n")[:-1], line):
        if b"\0" in row or b"\r" in row or row.count(b'"') % 2:
            _refuse_line(path, number, row)
        cells = row.decode("utf-8", "replace").split(",")
        if len(cells) != width:
            raise ValueError(f"{path}:{number}: {len(cells)} fields, expected {width}")
        for column, cell in enumerate(cells, 1):
            is_label = column == 1 and width > PIXELS
            least, most = (low, high) if is_label else (0, 255)
            plain = cell.isascii() and cell.isdigit() and len(cell) <= 3
            if not plain or not least <= int(cell) <= most:
                what = "label" if is_label else "pixel"
                raise ValueError(
                    f"{path}:{number}:{column}: {cell[:40]!r}, expected a {what}, "
                    f"a whole number {least}..{most}"
                )
    raise ValueError(f"{path}:{line}: cannot be read")


def _refuse_line(path, line, text):
    if b"\0" in text:
        raise ValueError(f"{path}:{line}: NUL byte (UTF-16, or not a text file)")
    if b"\r" in text:
        raise ValueError(f"{path}:{line}: carriage return without line feed")
    if text.count(b'"') % 2:
        raise ValueError(f"{path}:{line}: open quote")
    if len(text) > LONGEST_LINE:
        raise ValueError(f"{path}:{line}: line of more than {LONGEST_LINE} bytes")
    fields = text.count(b",") + 1
    raise ValueError(f"{path}:{line}: no end of line after {fields} fields: the file is cut short")


# Bytes: plain, gzip or zip, in bounded blocks


ENDINGS, OR_PACKED = ("", ".gz", ".zip"), "nor .gz nor .zip"


@contextlib.contextmanager
def _open(path):
    """The file opened for reading; any failure names it, later ones too; a pipe never blocks."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(f"{path}: not a file")
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        if error.strerror is None:  # it is in our own words already
            raise
        raise type(error)(f"{path}: {error.strerror}") from None


def _digest(path):
    with _open(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _stream(path):
    """Yield the content of a plain, .gz or .zip file in blocks of at most BLOCK bytes."""
    with _open(path) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise ValueError(f"{path}: empty file")
        if path.suffix == ".gz":
            yield from _gunzip(path, file)
        elif path.suffix == ".zip":
            yield from _unzip(path, file)
        else:
            while block := file.read(BLOCK):
                yield block


def _gunzip(path, file):
    """One gzip member and nothing after it (RFC 1952); zlib checks its CRC and length."""
    start = file.read(4)
    if start[:2] != b"\x1f\x8b":
        raise ValueError(f"{path}: not gzip, starts {start.hex()}")
    unpack = zlib.decompressobj(wbits=31)
    got, packed = 0, start
    try:
        while not unpack.eof:
            if not packed:
                size = os.fstat(file.fileno()).st_size
                raise ValueError(
                    f"{path}: gzip stream is cut short after {size} bytes, which give {got}"
                )
            block = unpack.decompress(packed, BLOCK)
            packed = unpack.unconsumed_tail or (b"" if unpack.eof else file.read(BLOCK))
            got += len(block)
            if block:
                yield block
    except zlib.error as error:
        raise ValueError(f"{path}: damaged gzip: {error}") from None
    if unpack.unused_data or file.read(1):
        raise ValueError(f"{path}: something follows the end of the gzip stream")


def _unzip(path, file):
    """The one .csv file of a zip archive."""
    try:
        archive = zipfile.ZipFile(file)
        names = [n for n in archive.namelist() if n.endswith(".csv") and "__MACOSX" not in n]
        member = archive.open(names[0]) if len(names) == 1 else None
        block = member.read(BLOCK) if member else b""
    except Exception as error:  # zipfile meets damage with a dozen kinds of exception
        raise ValueError(f"{path}: damaged zip: {error}") from None
    if len(names) != 1:
        raise ValueError(f"{path}: {len(names)} .csv files in the archive, expected one")
    while block:
        yield block
        try:
            block = member.read(BLOCK)
        except Exception as error:
            raise ValueError(f"{path}: damaged zip: {error}") from None


# The cache: derived arrays that can always be made again


def _key(*parts):
    """SHA-256 of the parts, each with its length before it."""
    text = b""
    for part in parts:
        part = part if isinstance(part, bytes) else str(part).encode()
        text += struct.pack(">Q", len(part)) + part
    return hashlib.sha256(text).hexdigest()


def _cached(key, make):
    """The arrays stored under this key, else those of make(), which are then stored."""
    for folder in _cache_folders():
        try:
            return _unpack((folder / f"{key}.npys").read_bytes())
        except (OSError, ValueError):  # not there, or damaged: it is only a cache
            continue
    arrays = make()
    packed = _pack(arrays)
    for folder in _cache_folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / f"{key}.npys", packed)
            break
        except OSError:  # read-only or full: the next folder, or do without
            continue
    return arrays


def _cache_folders():
    """Where cached arrays may be: build/cache of the project, or the user's own cache."""
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("HOME")
    hidden = "" if os.environ.get("XDG_CACHE_HOME") else ".cache"
    own = [Path(home) / hidden / "generative-models-report"] if home else []
    return [paths.ROOT / "build" / "cache", *own]


def _pack(arrays):
    """A SHA-256, then the arrays one after the other in numpy's own format."""
    body = io.BytesIO()
    for array in arrays:
        np.save(body, array, allow_pickle=False)
    return hashlib.sha256(body.getbuffer()).digest() + body.getbuffer()


def _unpack(packed):
    if hashlib.sha256(memoryview(packed)[32:]).digest() != packed[:32]:
        raise ValueError("damaged cache entry")
    body, arrays = io.BytesIO(packed), []
    body.seek(32)
    while body.tell() < len(packed):
        arrays.append(np.load(body, allow_pickle=False))
    return arrays


def _write(path, content):
    """Write aside, then rename: nobody ever sees half a file."""
    handle, aside = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise
