"""Files made with nibabel alone, so that our reader and writer meet an independent one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

Maker = Callable[..., Path]


@pytest.fixture
def make_nifti(tmp_path: Path) -> Maker:
    """Return a function that writes an array as NIfTI: name, voxels, sform, qform, fields."""

    def make(
        name: str = "scan.nii",
        voxels: NDArray[Any] | None = None,
        *,
        sform: tuple[NDArray[np.float64] | None, int] = (np.diag([1.0, 2.0, 3.0, 1.0]), 1),
        qform: tuple[NDArray[np.float64] | None, int] = (None, 0),
        version: int = 1,
        **fields: Any,
    ) -> Path:
        if voxels is None:
            voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
        is_pair = name.endswith((".img", ".hdr"))
        image_class: Any = {
            (1, False): nib.Nifti1Image,
            (1, True): nib.Nifti1Pair,
            (2, False): nib.Nifti2Image,
            (2, True): nib.Nifti2Pair,
        }[version, is_pair]
        header = image_class.header_class()
        header.set_data_dtype(voxels.dtype)
        header.set_data_shape(voxels.shape)
        header.set_qform(*qform)
        header.set_sform(*sform)
        for field, value in fields.items():
            header[field] = value
        image_class(voxels, None, header).to_filename(tmp_path / name)
        return tmp_path / name

    return make
