"""Files as bytes in bounded blocks, plain, gzip or zip: a few bytes may unpack to gigabytes."""

import gzip
import hashlib
import os
import stat
import zipfile

BLOCK = 1 << 20  # bytes taken at a time


def first_there(path, *endings):
    """The path, or with the first of the endings that is there, else None.

    A dangling link or a locked folder is not nothing: it is returned, or raised as its OSError.
    """
    for candidate in [path, *(path.with_name(path.name + ending) for ending in endings)]:
        try:
            os.lstat(candidate)
            return candidate
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise type(error)(f"{candidate}: {error.strerror}") from None
    return None


def sha256(path):
    """Of the file as it lies there, packed or not, as 32 bytes."""
    digest = hashlib.sha256()
    for block in blocks(path, unpack=False):
        digest.update(block)
    return digest.digest()


def start(path, size):
    """So many bytes of the content, all if there are fewer, or up to one block more."""
    data = bytearray()
    for block in blocks(path):
        data += block
        if len(data) >= size:
            break
    return data


def blocks(path, unpack=True):
    """Yield the content of a plain, .gz or .zip file in blocks of at most BLOCK bytes.

    gzip checks the CRC and length of each member, and refuses what follows the last (RFC 1952).
    Any failure is one line that begins with the path: ValueError for damage, else OSError.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would block
            raise OSError("not a file")
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise ValueError("empty file")
            if unpack and path.suffix in UNPACK:
                file = UNPACK[path.suffix](file)
            while block := file.read1(BLOCK):
                yield block
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise ValueError(f"{path}: damaged gz: {error}") from None
        raise type(error)(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # zlib and zipfile meet damage with a dozen kinds of exception
        told = " ".join(str(error).split())
        raise ValueError(f"{path}: damaged {path.suffix[1:]}: {told}") from None


def _unzip(file):
    """The one .csv file of a zip archive."""
    archive = zipfile.ZipFile(file)
    names = [n for n in archive.namelist() if n.endswith(".csv") and "__MACOSX" not in n]
    if len(names) != 1:
        raise ValueError(f"{len(names)} .csv files in the archive, expected one")
    return archive.open(names[0])


UNPACK = {".gz": lambda file: gzip.GzipFile(fileobj=file), ".zip": _unzip}
