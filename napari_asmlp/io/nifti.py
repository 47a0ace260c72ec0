"""NIfTI-1, NIfTI-2 and FreeSurfer's MGH, through nibabel: headers in and out, voxels left lazy.

What a file says about space is kept to the bit. nibabel resets the codes of qform and sform when
a header meets an affine it does not know, so a header is always written without one: either it
is the source's own and its affine is the grid's already, or the affine is put into it here.

Sources: https://nifti.nimh.nih.gov/nifti-1, https://nifti.nimh.nih.gov/nifti-2 and
https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat.
"""

from __future__ import annotations

import gzip
import logging
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import nibabel as nib
import numpy as np
from nibabel.fileholders import FileHolder
from nibabel.freesurfer.mghformat import MGHHeader
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from napari_asmlp.errors import GridError, OutputError, VolumeError
from napari_asmlp.grid import Grid
from napari_asmlp.io.files import replacing
from napari_asmlp.io.formats import KNOWN, Format, files_of, format_of
from napari_asmlp.io.inside import with_names
from napari_asmlp.io.names import named_labels
from napari_asmlp.io.planes import each_plane
from napari_asmlp.io.sniff import SNIFFED, foreign_content
from napari_asmlp.io.stored import StoredArray, unreadable
from napari_asmlp.volume import Volume, Voxels, smallest_unsigned

Header = Any  # nibabel leaves its headers untyped
Image = Any

_NIFTI: dict[bytes, Any] = {
    b"n+1\0": nib.Nifti1Image,
    b"ni1\0": nib.Nifti1Pair,
    b"n+2\0": nib.Nifti2Image,
    b"ni2\0": nib.Nifti2Pair,
}
_GZIP_LEVEL = 1  # labels hardly get smaller by more work
_NIFTI_1_LONGEST = 32767  # voxels along an axis
_SPATIAL_UNIT, _IN_MM = 0b111, 2  # the bits of xyzt_units that are not of time; their code of mm
_MM = {1: 1000.0, 3: 0.001}  # of a metre and a micron, by their code
_SCANNER = 1  # code of an affine in the coordinates of the scanner
_MGH_VERSION = b"\0\0\0\1"
_MGH_HEADER_BYTES = 90  # from there to the voxels at byte 284 nothing is used
_MGH_INTEGERS = (np.uint8, np.int16, np.int32)  # which every reader of MGH takes
MGH_NUMBERS = (*_MGH_INTEGERS, np.float32)
_OF_INTENSITIES = ("cal_min", "cal_max", "intent_code", "intent_p1", "intent_p2", "intent_p3")

_REFUSED = 40  # nibabel's level of faults that leave a header without meaning
_HEADER_FAULTS = (HeaderDataError, WrapStructError, ValueError, OverflowError, KeyError)
_silent = logging.Logger("nibabel", logging.CRITICAL + 1)  # its complaints become our errors


@dataclass(frozen=True)
class Stored:
    """How voxels are stored: numbers of this dtype, times the slope where the format has one."""

    dtype: np.dtype[Any]
    slope: float = 1.0


def open_file(path: Path, format_: Format) -> tuple[StoredArray, Grid, Header]:
    """Read a file's header and say where its voxels are; axes beyond the third become channels.

    Returns
    -------
    voxels
        (i, j, k) or (i, j, k, c), not read yet.
    grid
        Of the axes (i, j, k).
    header
        nibabel's, with harmless faults mended.

    Raises
    ------
    VolumeError
        If the file is damaged, of another kind, or holds no volume of real numbers.
    GridError
        If its affine is not finite or not invertible.
    """
    file, voxels_file = files_of(path)[0], files_of(path)[-1]
    with _as_volume_errors(file):
        header = _read_header(file, format_)
        affine = _affine_in_mm(header)
        _check_spacing(file, header)
        slope, inter = header.get_slope_inter()
        offset, dtype = header.get_data_offset(), header.get_data_dtype()
        shape = _checked_shape(file, header.get_data_shape())
    if dtype.kind not in "iuf":
        kind = "complex" if dtype.kind == "c" else "colour (RGB)"
        raise VolumeError(f"{file}: holds {kind} voxels; convert it to one number a voxel")
    if getattr(header, "is_single", False):
        offset = offset or header.single_vox_offset  # 0 stands for: right after the header
    voxels = StoredArray(
        voxels_file,
        shape,
        dtype,
        offset,
        scaling=(1.0 if slope is None else float(slope), 0.0 if inter is None else float(inter)),
        compressed=format_.compressed,
    )
    voxels.check_size()
    try:
        i, j, k = voxels.shape[:3]
        return voxels, Grid((i, j, k), affine), header
    except GridError as error:
        raise GridError(f"{file}: {error}; correct its header") from None


def _affine_in_mm(header: Header) -> NDArray[np.float64]:
    """Return a header's affine, from metres or microns if it says that it counts in those."""
    affine = np.array(header.get_best_affine(), dtype=np.float64)
    if isinstance(header, nib.Nifti1Header):
        affine[:3] *= _MM.get(int(header["xyzt_units"]) & _SPATIAL_UNIT, 1.0)
    return affine


def _check_spacing(file: Path, header: Header) -> None:
    """Refuse a spacing of 0 where the affine follows from it; nibabel takes 1 mm in silence."""
    if isinstance(header, nib.Nifti1Header) and not header["sform_code"]:
        spacing = header["pixdim"][1:4]
        if not spacing.all():
            values = " ".join(f"{mm:g}" for mm in spacing)
            raise GridError(f"{file}: its spacing is {values} mm; correct its header")


def write_file(
    voxels: Voxels, volume: Volume, path: Path, form: Stored, *, overwrite: bool
) -> None:
    """Write voxels with the grid of `volume`, and its header as far as the format allows.

    NIfTI is written plane by plane, so that voxels in a file need no memory. MGH goes through
    nibabel as a whole: 1 to 4 bytes a voxel for labels, 4 for each class of probabilities.

    Parameters
    ----------
    voxels
        (i, j, k) or (i, j, k, c); the values to store.
    volume
        Gives grid and header.
    path
        Its suffix, which must be known, chooses the format.
    form
        How they are stored.

    Raises
    ------
    OutputError
        If the system refuses, the file exists and `overwrite` is false, or the format cannot
        hold a value.
    """
    format_, files = format_of(path), files_of(path)
    with ExitStack() as stack:
        temporary = [stack.enter_context(replacing(file, overwrite=overwrite)) for file in files]
        if format_ is not None and format_.family == "mgh":
            image = _mgh_image(np.asarray(voxels).astype(form.dtype, copy=False), volume, path)
            image.to_file_map({"image": FileHolder(filename=str(temporary[0]))})
            return
        header = _nifti_header(tuple(voxels.shape), form, volume, is_pair=len(files) == 2)
        opened = [stack.enter_context(_writing(file)) for file in temporary]
        header.write_to(opened[0])
        opened[-1].seek(header.get_data_offset())
        for planes in each_plane(voxels):
            stored = planes.astype(header.get_data_dtype(), copy=False)
            opened[-1].write(stored.tobytes(order="F"))


@contextmanager
def _writing(file: Path) -> Iterator[IO[bytes]]:
    """Open a file to write; compressed as its suffix says, without a time, which is no content."""
    with file.open("wb") as stream:
        if file.suffix.lower() != ".gz":
            yield stream
            return
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, stream, mtime=0) as packed:
            yield cast("IO[bytes]", packed)


def labels_dtype(highest: int, path: Path) -> np.dtype[Any]:
    """Return the dtype in which a file holds labels up to `highest`; its suffix is known.

    Raises
    ------
    OutputError
        If its format has none.
    VolumeError
        If no label is that large.
    """
    format_ = format_of(path)
    if format_ is None or format_.family != "mgh":
        return smallest_unsigned(highest)
    for dtype in _MGH_INTEGERS:
        if highest <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    raise OutputError(f"{path}: MGH cannot hold label {highest}; write .nii.gz instead")


def _nifti_header(shape: tuple[int, ...], form: Stored, volume: Volume, *, is_pair: bool) -> Header:
    """Return the source's header, but for what describes intensities, and with label names."""
    own = isinstance(volume.header, nib.Nifti1Header)  # of which that of NIfTI-2 is a kind
    source = volume.header if own else _fresh_header(shape, volume.grid)
    version = 2 if isinstance(source, nib.Nifti2Header) else 1
    image_class = _NIFTI[f"n{'i' if is_pair else '+'}{version}\0".encode()]
    named = named_labels(volume) if volume.kind == "labels" else []
    header = image_class.header_class(
        source.binaryblock,
        source.endianness,
        check=False,
        extensions=with_names(source.extensions, named),
    )
    if header.get_data_shape() != shape:
        header.set_data_shape(shape)
        header["pixdim"][4:] = 1  # channels have no spacing
    header.set_data_dtype(form.dtype)
    for field in _OF_INTENSITIES:
        header[field] = 0
    header["intent_name"] = b""
    header["scl_slope"], header["scl_inter"] = form.slope, 0
    header["vox_offset"] = 0  # nibabel works it out
    if not np.array_equal(_affine_in_mm(header), volume.grid.affine):
        _set_affine(header, volume.grid)
        header["dim_info"] = header["slice_code"] = 0  # how the scanner went through other axes
    header["magic"] = header.pair_magic if is_pair else header.single_magic
    return header


def _fresh_header(shape: tuple[int, ...], grid: Grid) -> Header:
    """Return a NIfTI header for voxels that came without one."""
    header_class: Any = nib.Nifti2Header if max(shape) > _NIFTI_1_LONGEST else nib.Nifti1Header
    header = header_class()
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    _set_affine(header, grid)
    return header


def _set_affine(header: Header, grid: Grid) -> None:
    """Put a grid's affine into a header of another one, or of none, keeping the code if any."""
    code = int(header["sform_code"]) or int(header["qform_code"]) or _SCANNER
    header["xyzt_units"] = int(header["xyzt_units"]) & ~_SPATIAL_UNIT | _IN_MM
    header.set_sform(grid.affine, code)
    header.set_qform(grid.affine, code)  # sets the spacing, too
    kept = Grid(grid.shape, header.get_qform())
    if not kept.same_as(grid):  # a shear, which the qform's rotation cannot express
        header["qform_code"] = 0


def _mgh_image(array: NDArray[Any], volume: Volume, path: Path) -> Image:
    """Return nibabel's image, with the source's own header if that is of MGH and of this grid."""
    if array.dtype.kind == "u":
        array = array.astype(labels_dtype(int(array.max()), path), copy=False)
    image = nib.MGHImage(array, volume.grid.affine)
    if isinstance(volume.header, MGHHeader):
        header = volume.header.copy()
        header["dims"] = image.header["dims"]
        if np.array_equal(header.get_best_affine(), volume.grid.affine):
            image = nib.MGHImage(array, None, header)
    image.set_data_dtype(array.dtype)
    return image


def _read_header(file: Path, format_: Format) -> Header:
    """Read the header, mending the faults that nibabel mends, without its log lines."""
    with file.open("rb") as raw:
        _refuse_foreign(file, format_, raw.read(SNIFFED))
    with gzip.open(file) if format_.compressed else file.open("rb") as stream:
        start = stream.read(SNIFFED)
        if format_.compressed:
            _refuse_foreign(file, replace(format_, compressed=False), start)
        stream.seek(0)
        image_class = _image_class(file, format_, start[:348])
        if image_class is nib.MGHImage:  # nibabel would read on to the footer behind the voxels
            header = MGHHeader(start[:_MGH_HEADER_BYTES], check=False)
        else:
            header = image_class.header_class.from_fileobj(stream, check=False)
    header.check_fix(logger=_silent, error_level=_REFUSED)
    return header


def _refuse_foreign(file: Path, format_: Format, start: bytes) -> None:
    """Raise a VolumeError if a file's first bytes say that it is something else."""
    if what := foreign_content(file, format_, start):
        raise VolumeError(f"{file}: {what}")


def _image_class(file: Path, format_: Format, start: bytes) -> Any:
    """Return nibabel's class for a file, from its format and first 348 bytes."""
    if format_.family == "mgh":
        if start.startswith(_MGH_VERSION):
            return nib.MGHImage
        raise VolumeError(f"{file}: is no MGH file, whatever its name says; known: {KNOWN}")
    image_class = _NIFTI.get(start[344:348]) or _NIFTI.get(start[4:8])
    if image_class and image_class.header_class.is_single != format_.is_pair:
        return image_class
    if len(start) == 348 and 348 in (
        int.from_bytes(start[:4], "little"),
        int.from_bytes(start[:4], "big"),
    ):
        raise VolumeError(
            f"{file}: is of the Analyze format, or half a NIfTI pair, and does not say where it "
            "lies in space; convert it to .nii.gz"
        )
    raise VolumeError(f"{file}: is no NIfTI file, whatever its name says; known: {KNOWN}")


def _checked_shape(file: Path, stored: Sequence[int]) -> tuple[int, ...]:
    """Return the shape as (i, j, k) or (i, j, k, c); axes of length 1 after the third vanish."""
    text = "x".join(str(n) for n in stored)
    if not stored or min(stored) < 1:
        raise VolumeError(f"{file}: holds no voxel ({text}); a volume needs three axes")
    if len(stored) < 3 or min(stored[:3]) < 2:
        raise VolumeError(f"{file}: is {text}, not 3D: three axes need at least 2 voxels each")
    further = [int(n) for n in stored[3:] if n > 1]
    if len(further) > 1:
        raise VolumeError(f"{file}: is {text}; at most one axis may follow the three of space")
    return (*(int(n) for n in stored[:3]), *further)


@contextmanager
def _as_volume_errors(file: Path) -> Iterator[None]:
    """Turn what nibabel, gzip and the system raise over a bad header into a VolumeError."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of odd extensions, which are kept as they are
            yield
    except (EOFError, zlib.error, OSError) as error:
        raise unreadable(file, error) from error
    except _HEADER_FAULTS as error:
        reason = " ".join(str(error).split())
        raise VolumeError(f"{file}: its header is damaged ({reason}); get a fresh copy") from error
