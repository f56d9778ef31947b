"""Files as streams of bytes, plain, gzip or zip, in bounded blocks.

A packed file of a few bytes may unpack to gigabytes, so nothing here reads a whole one. Every
fault is one line that begins with the path.
"""

import contextlib
import hashlib
import os
import stat
import zipfile
import zlib

BLOCK = 1 << 20  # bytes taken from a stream at a time


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
    with _open(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


def stream(path):
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
