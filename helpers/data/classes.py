"""What the labels of a set are called, and the set itself: told by the images, never a wish."""

import numpy as np

from helpers.data import archives

MOST, LONGEST = 256, 60  # names, characters of one


def names_and_title(known, verified, files, labels):
    """((a name for each label), title) of images that were read as a known set.

    known: a row of `sets`; files, labels: of (train, test), labels as they stand in the files.
    Images are the known set if they are verified, or, where no SHA-256 is known, if their labels
    are exactly its labels. All others are somebody's own: the lines of classes.txt beside them
    name the classes, else the labels of the training images do; title.txt has the title.
    Raises ValueError for a label without a name or a name that is none.
    """
    first, folder = known.first_label, files[0].parent
    found = (np.unique(labels[0]) - first).tolist()
    listed = _lines(folder / "classes.txt")
    exact = not known.published and not listed and found == [*range(len(known.classes))]
    if verified or exact:
        return known.classes, known.title
    names = listed or [str(label) for label in range(found[-1] + 1)]
    last = first + len(names) - 1
    for path, part in zip(files, labels, strict=True):
        for row in [] if part is None else np.flatnonzero((part < first) | (part > last))[:1]:
            raise ValueError(f"{path}: row {row}: label {part[row]}, expected {first}..{last}")
    if not listed and len(found) < len(names):
        raise ValueError(
            f"{files[0]}: labels go up to {last}, but {len(names) - len(found)} of them are not "
            f"there: count from {first} without a gap, or name all in {folder / 'classes.txt'}"
        )
    return tuple(names), (_lines(folder / "title.txt") or ["own images"])[0]


def _lines(path):
    """The lines of a short text, each a name; None if there is no such file."""
    if not archives.first_there(path):
        return None
    with archives.opened(path) as file:
        text = file.read().decode("utf-8-sig")
    names = [line.strip() for line in text.rstrip().split("\n")]
    for i, name in enumerate(names):
        printable = name.isprintable() and 0 < len(name) <= LONGEST
        if i == MOST or not printable or name in names[:i]:
            raise ValueError(
                f"{path}:{i + 1}: {name[:40]!r}, expected a name, once, of 1 to {LONGEST} "
                f"printable characters, in {MOST} lines at most"
            )
    return names
