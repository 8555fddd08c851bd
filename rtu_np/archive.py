"""Named arrays in one .npz file. What is read is checked before anything is allocated for it.

NumPy's reader raises almost any error for a damaged file, and allocates what a damaged header asks for. So this module
reads the few kinds of .npz files that `write` makes, and refuses every other file with a ValueError.
"""

import errno
import math
import os
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from rtu_np import files

# What Python's zipfile raises for damaged files. Errors of the system, such as PermissionError, are not among them.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, ValueError, OverflowError),
    *(NotImplementedError, RuntimeError),  # for compression and encryption that zipfile does not know
)
_ENCRYPTED = 1
_EXPANDS = 1032  # bytes that one byte of a deflated file can stand for, at most
_MAGIC = b"\x93NUMPY"
_LENGTH = {b"\1\0": "<H", b"\2\0": "<I", b"\3\0": "<I"}  # of the header, by version of the format
_HEADER = re.compile(
    rb"\{'descr': '([<>|=][a-zA-Z]\d*(?:\[\w+\])?)', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\), \}\s*"
)


def write(path: str | os.PathLike, arrays: dict[str, np.ndarray], compressed: bool = False) -> None:
    """Write `arrays` to `path` completely, or not at all (`rtu_np.files.replacing`).

    Raises
    ------
    TypeError : if an array holds Python objects or fields, which only a pickle could store
    OSError : what the system says

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Path(folder) / "a.npz", {"x": np.arange(3)})
    ...     read(Path(folder) / "a.npz")
    {'x': array([0, 1, 2])}
    """
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject or np.asarray(array).dtype.fields:
            raise TypeError(f"{name} has dtype {np.asarray(array).dtype}: expected numbers or strings")
    with files.replacing(path) as part, part.open("wb") as file:
        (np.savez_compressed if compressed else np.savez)(file, **arrays)  # type: ignore[arg-type]


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """{name: array} of a file that `write` wrote.

    Raises
    ------
    ValueError : if the file is damaged, cut short, of another program, or not a file
    OSError : what the system says: the file is missing, may not be read, or cannot be read
    """
    if (kind := files.kind_of(path)) != "a file":
        raise ValueError(f"it is {kind}")
    with Path(path).open("rb") as file:
        try:
            return {name.removesuffix(".npy"): _array(name, content) for name, content in _members(file)}
        except OSError as error:
            if error.errno != errno.EINVAL:  # a damaged table asks for bytes before the start of the file
                raise
            raise ValueError(f"its table of contents is damaged ({error})") from error


def _members(file: IO[bytes]) -> list[tuple[str, bytes]]:
    """(name, bytes) of each member, with its checksum verified."""
    size = os.fstat(file.fileno()).st_size
    try:
        with zipfile.ZipFile(file) as archive:
            return [(info.filename, _content(archive, info, size)) for info in archive.infolist()]
    except _DAMAGED as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> bytes:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & _ENCRYPTED:
        raise ValueError(f"{info.filename} is packed in a way that NumPy does not use")
    if info.compress_size > size or info.file_size > _EXPANDS * info.compress_size + _EXPANDS:
        raise ValueError(f"{info.filename} says that it is longer than the file")
    return archive.read(info)


def _array(name: str, content: bytes) -> np.ndarray:
    """The array whose .npy file is `content`."""
    form = _LENGTH.get(content[6:8])
    if content[:6] != _MAGIC or form is None or len(content) < 12:
        raise ValueError(f"{name} is not an array of NumPy")
    start = 8 + struct.calcsize(form)
    end = start + struct.unpack(form, content[8:start])[0]
    header = _HEADER.fullmatch(content[start:end]) if end <= len(content) else None
    if header is None:
        raise ValueError(f"{name} has a header that describes no plain array")
    kind, fortran, lengths = header.groups()
    try:
        dtype = np.dtype(kind.decode())
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} has a type that NumPy does not know, {kind.decode()}") from error
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"{name} holds no numbers, but {dtype}")
    shape = tuple(int(length) for length in lengths.split(b",") if length.strip())
    if math.prod(shape) * dtype.itemsize != len(content) - end:
        raise ValueError(f"{name} has {len(content) - end} bytes of numbers, and its header says {dtype} {shape}")
    return np.ndarray(shape, dtype, content, end, order="F" if fortran == b"True" else "C").copy(order="K")
