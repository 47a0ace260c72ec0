"""Made-up volumes and the truth about them."""

import nibabel as nib
import numpy as np
import pytest
import torch

from napari_asmlp.errors import VolumeError
from napari_asmlp.training.synthetic import (
    ANATOMY,
    SHAPES,
    TISSUES,
    read_label_map,
    synthetic_head,
    synthetic_shapes,
)

CORTEX, WHITE = 3, 4  # in ANATOMY


def label_map(folder, *, value=2):
    """Write a cube of cortex with something of `value` within."""
    labels = np.zeros((40, 40, 40), np.int16)
    labels[10:30, 10:30, 10:30] = 3
    labels[15:25, 15:25, 15:25] = value
    path = folder / "map_01.nii"
    nib.save(nib.Nifti1Image(labels, np.eye(4)), path)
    return path


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_map_is_cut_to_the_head_with_a_margin(tmp_path):
    sample = read_label_map(label_map(tmp_path))
    assert sample.classes.shape == (36, 36, 36)
    assert {TISSUES[index].target for index in np.unique(sample.classes)} == {0, CORTEX, WHITE}
    assert read_label_map(label_map(tmp_path), step=2).classes.shape == (18, 18, 18)


def test_an_unknown_label_is_named(tmp_path):
    with pytest.raises(VolumeError, match=r"labels \[999\] are no tissues"):
        read_label_map(label_map(tmp_path, value=999))


def test_a_hippocampus_is_called_cortex(tmp_path):
    crop = synthetic_head(read_label_map(label_map(tmp_path, value=17)), (32, 32, 32), generator())
    assert set(crop.classes.unique().tolist()) <= {0, CORTEX}
    assert not any("hippocampus" in name and name != ANATOMY[CORTEX] for name in ANATOMY)


def test_no_label_belongs_to_two_tissues():
    values = [value for tissue in TISSUES for value in tissue.values]
    assert len(values) == len(set(values))


def test_the_same_generator_gives_the_same_volume(tmp_path):
    sample = read_label_map(label_map(tmp_path))
    first, second, other = (
        synthetic_head(sample, (16, 16, 16), generator(seed)).image for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("seed", range(4))
def test_shapes_have_an_inside_and_a_border(seed):
    crop = synthetic_shapes((24, 24, 24), generator(seed))
    assert crop.image.shape == (1, 24, 24, 24)
    assert crop.image.isfinite().all()
    assert set(crop.classes.unique().tolist()) <= set(range(len(SHAPES)))
    outside, border = crop.classes == 0, crop.classes == 2
    # Whoever is next to the outside, and is not outside, is a border.
    for axis in range(3):
        first, second = (outside.narrow(axis, start, 23) for start in (0, 1))
        edge = border.narrow(axis, 0, 23)
        assert edge[second & ~first].all()
