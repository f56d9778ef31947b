"""What the labels of a set are called, and the set itself: told by the images, never a wish."""

import numpy as np

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
    found = set((np.unique(labels[0]) - first).tolist())
    listed = _lines(folder / "classes.txt")
    exact = not known.published and not listed and found == {*range(len(known.classes))}
    if verified or exact:
        return known.classes, known.title
    names = listed or tuple(map(str, range(max(found) + 1)))
    last = first + len(names) - 1
    for path, part in zip(files, labels, strict=True):
        wrong = [] if part is None else np.flatnonzero((part < first) | (part > last))
        if len(wrong):
            raise ValueError(
                f"{path}: row {wrong[0]}: label {part[wrong[0]]}, expected {first}..{last}"
                + (f", the lines of {folder / 'classes.txt'}" if listed else ", as in training")
            )
    if not listed and len(found) < len(names):
        gap = min({*range(len(names))} - found) + first
        raise ValueError(
            f"{files[0]}: labels go up to {last}, but none is {gap}: count them from {first} "
            f"without a gap, or name the classes in {folder / 'classes.txt'}"
        )
    return tuple(names), (_lines(folder / "title.txt") or ["own images"])[0]


def _lines(path):
    """The lines of a short text, each a name; None if there is no such file."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise type(error)(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason})") from None
    names = [line.strip() for line in text.rstrip().splitlines()]
    for number, name in enumerate(names, 1):
        if not 0 < len(name) <= LONGEST or not name.isprintable() or name in names[: number - 1]:
            raise ValueError(
                f"{path}:{number}: {name[:40]!r}, expected a name, once, of 1 to "
                f"{LONGEST} printable characters"
            )
    if not 0 < len(names) <= MOST:
        raise ValueError(f"{path}: {len(names)} lines, expected 1 to {MOST}")
    return names
