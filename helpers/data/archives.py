"""Files that may be packed, read in bounded pieces: a few bytes may unpack to gigabytes."""

import contextlib
import gzip
import os
import stat
import zipfile


def first_there(path, *endings):
    """The path, or with the first of the endings that is there, else None.

    A dangling link or a locked folder is not nothing: it is returned, or raised as its OSError.
    """
    for candidate in [path, *(path.with_name(path.name + ending) for ending in endings)]:
        try:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.lstat(candidate)
                return candidate
        except OSError as error:
            raise OSError(f"{candidate}: {error.strerror}") from None
    return None


@contextlib.contextmanager
def opened(path, unpack=True):
    """The content of a plain, .gz or .zip file, open for reading.

    Whatever fails inside the `with` is one line that begins with the path: OSError or ValueError.
    gzip checks the CRC and length of each member, and refuses what follows the last (RFC 1952).
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would block
            raise OSError("not a file")
        if not os.path.getsize(path):
            raise ValueError("empty file")
        with open(path, "rb") as file:
            yield UNPACK[path.suffix](file) if unpack and path.suffix in UNPACK else file
    except Exception as error:  # zlib and zipfile meet damage with a dozen kinds of exception
        told = " ".join(str(getattr(error, "strerror", None) or error).split())
        line = told if told.startswith(str(path)) else f"{path}: {told or type(error).__name__}"
        raise (OSError if isinstance(error, OSError) else ValueError)(line) from error


def _unzip(file):
    """The one .csv file of a zip archive."""
    archive = zipfile.ZipFile(file)
    names = [n for n in archive.namelist() if n.endswith(".csv") and "__MACOSX" not in n]
    if len(names) != 1:
        raise ValueError(f"{len(names)} .csv files in the archive, expected one")
    return archive.open(names[0])


UNPACK = {".gz": lambda file: gzip.GzipFile(fileobj=file), ".zip": _unzip}
