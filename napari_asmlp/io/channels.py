"""An image in one file or in several, one for each channel: what it holds, whatever its name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from napari_asmlp.errors import VolumeError
from napari_asmlp.io.planes import each_plane
from napari_asmlp.volume import Volume


def content_hash(images: Sequence[Volume]) -> str:
    """Hash the voxels of an image as float32, plane by plane: 64 hexadecimal digits of SHA-256.

    A renamed, moved or recompressed image keeps its hash.

    Raises
    ------
    VolumeError
        Where a file is damaged, or holds NaN or infinity.
    """
    digest = hashlib.sha256()
    for image in images:
        digest.update(repr(tuple(image.data.shape)).encode())
        for plane in each_plane(image.data):
            if not np.isfinite(plane).all():
                raise VolumeError(
                    f"{image.path}: holds NaN or infinity; put numbers in their places first"
                )
            with np.errstate(over="ignore"):  # 1e300 is a number too, if no useful one
                digest.update(plane.astype(np.float32, order="C").tobytes())
    return digest.hexdigest()


def stacked(channels: Sequence[Volume]) -> Volume:
    """Return an image of its channels, on one grid; raises `VolumeError` where one holds several.

    One volume, of any number of channels, is returned as it is.
    """
    if len(channels) == 1:
        return channels[0]
    if many := [volume for volume in channels if volume.channels > 1]:
        raise VolumeError(
            f"{many[0].path}: holds {many[0].channels} volumes, but is one channel of"
            f" {len(channels)}; --volume N chooses one of them"
        )
    voxels = np.stack([volume.array() for volume in channels], axis=-1)
    return Volume(voxels, channels[0].grid, path=channels[0].path)
