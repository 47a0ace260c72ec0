"""Channels that are arrays of their own, seen as one array with channels last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_asmlp.volume import Voxels


@dataclass(frozen=True)
class JoinedArray:
    """(i, j, k, c) of c arrays (i, j, k); what lies in files stays there until it is asked for.

    Parameters
    ----------
    channels : two at least, of one shape
    """

    channels: tuple[Voxels, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along (i, j, k), and the number of channels."""
        return (*self.channels[0].shape, len(self.channels))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return 4

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest dtype that holds the numbers of all channels."""
        return np.result_type(*(channel.dtype for channel in self.channels))

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return a part, by slices of (i, j, k), or by any index of all four axes."""
        keys = key if isinstance(key, tuple) else (key,)
        if len(keys) > 3 or any(each is Ellipsis or each is None for each in keys):
            part: NDArray[Any] = np.asarray(self)[key]
            return part
        parts = [np.asarray(channel[keys]) for channel in self.channels]
        return np.stack(parts, axis=-1).astype(self.dtype, copy=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        array = np.stack([np.asarray(channel) for channel in self.channels], axis=-1)
        return array.astype(self.dtype if dtype is None else dtype, copy=False)
