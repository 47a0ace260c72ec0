"""What a file is whose name promises a volume, told by its first bytes.

Files get lost on the way: a pointer is left where the content should be, a server answers with a
page, a name is given by hand. All that is known of that is in this table.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from napari_asmlp.io.formats import Format, base_name

SNIFFED = 512  # bytes from the start that it takes
GZIP = b"\x1f\x8b"
_NIFTI_MAGIC = (b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0")
_MGH_START = b"\0\0\0\1"
_UNPACK = "unpack it, and give the volume in it"
_CONVERT = "convert it to .nii.gz first"
_AGAIN = "download the file again, and look at what the server says"
_LFS = "is a Git LFS pointer, not the file itself: run: git lfs pull"
_ANNEX = "is a git-annex pointer, not the file itself: run: git annex get, or datalad get"
_POINTERS = (
    (b"version https://git-lfs", _LFS),
    (b"version https://hawser", _LFS),
    (b"/annex/objects/", _ANNEX),
)
_STARTS: tuple[tuple[bytes, str, str], ...] = (
    (b"<!doctype html", "a web page (HTML)", _AGAIN),
    (b"<html", "a web page (HTML)", _AGAIN),
    (b"<?xml", "XML text, often the error of a server", _AGAIN),
    (b"<error", "XML text, often the error of a server", _AGAIN),
    (b"{", "JSON text, often the error of a server", _AGAIN),
    (b"[", "JSON text, often the error of a server", _AGAIN),
    (b"pk\3\4", "a zip archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"rar!", "a RAR archive", _UNPACK),
    (b"bzh", "compressed by bzip2", _UNPACK),
    (b"\xfd7zxz", "compressed by xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard", _UNPACK),
    (b"nrrd0", "an NRRD file", _CONVERT),
    (b"objecttype", "a MetaImage file", _CONVERT),
    (b"\x89hdf", "an HDF5 file", _CONVERT),
    (b"cdf\1", "a MINC (NetCDF) file", _CONVERT),
    (b"cdf\2", "a MINC (NetCDF) file", _CONVERT),
    (b"\x93numpy", "a NumPy array", _CONVERT),
    (b"ii*\0", "a TIFF picture", _CONVERT),
    (b"mm\0*", "a TIFF picture", _CONVERT),
    (b"\x89png", "a PNG picture", "give a volume"),
    (b"\xff\xd8\xff", "a JPEG picture", "give a volume"),
    (b"%pdf", "a PDF document", "give a volume"),
)


def pointer_text(start: bytes) -> str | None:
    """Return what a file is that stands for content which was not fetched, and what to do."""
    if b".git/annex/objects" in start:
        return _ANNEX
    return next((text for begin, text in _POINTERS if start.startswith(begin)), None)


def foreign_content(path: Path, format_: Format, start: bytes) -> str | None:
    """Return what a file is instead of what its name says, and what to do; None if that is unclear.

    Parameters
    ----------
    path, format_
        Of the file, and by its name.
    start
        The first `SNIFFED` bytes, as they lie in the file.

    Returns
    -------
    str or None
        Such as ``is a zip archive: unpack it, and give the volume in it``.
    """
    family = _family(start)
    if start.startswith(GZIP):
        if format_.compressed:
            return None
        if format_.is_pair:
            return "is gzip-compressed, whatever its name says: unpack it"
        name = path.name + ".gz" if format_.family == "nifti" else f"{base_name(path)}.mgz"
        return f"is gzip-compressed, whatever its name says: rename it to {name}"
    if family and (format_.compressed or family != format_.family):
        what = "not gzip-compressed" if family == format_.family else f"a {family.upper()} file"
        name = base_name(path) + {"nifti": ".nii", "mgh": ".mgh"}[family]
        return f"is {what}, whatever its name says: rename it to {name}"
    if family:
        return None
    return next(_foreign(start, compressed=format_.compressed), None)


def _family(start: bytes) -> str | None:
    """Return the family of formats that bytes begin like."""
    if start[344:348] in _NIFTI_MAGIC or start[4:8] in _NIFTI_MAGIC:
        return "nifti"
    return "mgh" if start.startswith(_MGH_START) else None


def _foreign(start: bytes, *, compressed: bool) -> Iterator[str]:
    if not start:
        return
    lowered = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for begin, what, advice in _STARTS:
        if lowered.startswith(begin):
            yield f"is {what}: {advice}"
    if start[128:132] == b"DICM":
        yield "is a DICOM file, whatever its name says: convert its series to .nii.gz first"
    if start[257:262] == b"ustar":
        yield f"is a tar archive, whatever its name says: {_UNPACK}"
    if not any(start):
        yield "holds only zeros: a download or a copy did not end; get a fresh copy"
    if start.isascii() and start.decode("ascii").replace("\n", "").replace("\r", "").isprintable():
        words = " ".join(start.decode("ascii").split())[:40]
        yield f"is text ({words!r}), whatever its name says: give a volume"
    if compressed:
        yield "is not gzip-compressed, whatever its name says: get a fresh copy"
