"""The axial shift against a voxel-by-voxel oracle, and the rearrangements of octants."""

import math

import pytest
import torch

from napari_asmlp.networks.shift import (
    REFERENCE_OCTANTS,
    axial_shift,
    channel_groups,
    merge_octants,
    merge_reference_octants,
    split_octants,
)


def shift_voxel_by_voxel(tokens, axis, shift_size):
    """Straight from the words: chunk n of ceil(C / S) channels moves by n - S // 2."""
    moved = torch.zeros_like(tokens)
    group = math.ceil(tokens.shape[-1] / shift_size)
    for index in torch.cartesian_prod(*(torch.arange(n) for n in tokens.shape)).tolist():
        source = list(index)
        source[axis] -= index[-1] // group - shift_size // 2
        if 0 <= source[axis] < tokens.shape[axis]:
            moved[tuple(index)] = tokens[tuple(source)]
    return moved


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize(
    ("channels", "shift_size"), [(5, 5), (7, 3), (8, 5), (3, 5), (1, 5), (6, 2), (4, 4), (9, 7)]
)
def test_shift_is_that_of_the_oracle(axis, channels, shift_size):
    tokens = torch.randn(2, 4, 3, 5, channels)
    assert torch.equal(
        axial_shift(tokens, axis, shift_size), shift_voxel_by_voxel(tokens, axis, shift_size)
    )


def test_shift_by_hand():
    tokens = torch.tensor([[1.0, 10, 100], [2, 20, 200], [3, 30, 300]]).reshape(1, 3, 1, 1, 3)
    expected = [[2, 10, 0], [3, 20, 100], [0, 30, 200]]
    assert axial_shift(tokens, 1, 3).reshape(3, 3).tolist() == expected


def test_shift_of_one_moves_nothing():
    tokens = torch.randn(1, 3, 3, 3, 4)
    assert torch.equal(axial_shift(tokens, 2, 1), tokens)


@pytest.mark.parametrize(("channels", "shift_size"), [(4, 3), (5, 2), (3, 5)])
def test_gradient_of_the_shift(channels, shift_size):
    tokens = torch.randn(1, 3, 2, 4, channels, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: axial_shift(t, 3, shift_size), (tokens,))


def test_fewer_groups_than_shifts():
    assert channel_groups(16, 5) == [(4, -2), (4, -1), (4, 0), (4, 1)]


def test_merging_is_a_permutation():
    tokens = torch.arange(2 * 4 * 6 * 2 * 3.0).reshape(2, 4, 6, 2, 3)
    merged = merge_octants(tokens)
    assert merged.shape == (2, 2, 3, 1, 24)
    assert torch.equal(merged.flatten().sort().values, tokens.flatten())


def test_merged_tokens_are_those_of_their_cell():
    tokens = torch.randn(1, 4, 4, 4, 2)
    cell = merge_octants(tokens)[0, 1, 0, 1].reshape(2, 2, 2, 2)
    assert torch.equal(cell, tokens[0, 2:4, 0:2, 2:4])


def test_split_undoes_merge():
    tokens = torch.randn(2, 4, 2, 6, 3)
    assert torch.equal(split_octants(merge_octants(tokens)), tokens)


def test_reference_slip_loses_one_octant_and_repeats_another():
    tokens = torch.arange(8.0).reshape(1, 2, 2, 2, 1)
    assert merge_reference_octants(tokens).flatten().tolist() == [0, 4, 6, 7, 2, 3, 7, 1]
    assert (1, 0, 1) not in REFERENCE_OCTANTS
