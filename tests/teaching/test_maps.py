"""Features on coarser grids, read at voxels and in planes."""

import numpy as np
import torch

from napari_asmlp.teaching.filters import filter_maps, symmetric_eigenvalues
from napari_asmlp.teaching.maps import Map, Maps

# Two elements of two voxels each along x: their centres lie at 0.5 and 2.5.
COARSE = Map(torch.tensor([0.0, 4.0]).reshape(1, 2, 1, 1), (2.0, 1.0, 1.0))


def test_between_centres_it_is_interpolated_and_beyond_them_constant():
    places = torch.tensor([[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]])
    assert COARSE.at(places).flatten().tolist() == [0, 1, 3, 4]


def test_planes_are_the_same_as_voxels():
    generator = torch.Generator().manual_seed(0)
    fine = Map(torch.randn(2, 6, 5, 4, generator=generator), (1.0, 1.0, 1.0))
    coarse = Map(torch.randn(3, 2, 4, 1, generator=generator), (2.5, 1.5, 4.0))
    maps = Maps((6, 5, 4), (fine, coarse))
    places = np.argwhere(np.ones((6, 5, 4), bool))
    whole = torch.cat([maps.planes(range(0, 2)), maps.planes(range(2, 6))], dim=1)
    torch.testing.assert_close(whole.T, maps.at(places))
    assert len(maps) == whole.shape[0] == 2 + 3 + 4


def test_a_place_runs_from_side_to_side_and_knows_the_middle():
    at = Maps((4, 1, 2), ()).at(np.array([[0, 0, 0], [3, 0, 1], [1, 0, 1]]))
    assert at.tolist() == [[-0.75, 0, -0.5, 0.75], [0.75, 0, 0.5, 0.75], [-0.25, 0, 0.5, 0.25]]


def test_levels_halve_and_an_even_image_has_no_edges():
    maps = filter_maps(np.full((9, 8, 8), 3, np.float32), [(1.0,), (1.0,)])
    assert [tuple(one.values.shape) for one in maps] == [(7, 9, 8, 8), (6, 5, 4, 4)]
    assert [one.size for one in maps] == [(1, 1, 1), (2, 2, 2)]
    for one in maps:
        smooth, *others = one.values[len(one.values) == 7 :].float()
        assert (smooth == 3).all()
        assert all(other.abs().max() < 1e-2 for other in others)


def test_a_ramp_has_its_slope():
    ramp = np.broadcast_to(np.arange(16, dtype=np.float32)[:, None, None], (16, 8, 8))
    slope = filter_maps(np.ascontiguousarray(ramp), [(1.0,)])[0].values[2]
    assert torch.allclose(slope[4:12].float(), torch.tensor(1.0), atol=1e-2)


def test_curvatures_of_a_saddle_are_its_second_derivatives():
    x, y, z = np.indices((17, 17, 17), dtype=np.float32) - 8
    saddle = (3 * x * x - 2 * y * y + 0.5 * z * z) / 2
    largest, middle, least = filter_maps(saddle, [(1.0,)])[0].values[-3:, 8, 8, 8].tolist()
    np.testing.assert_allclose([largest, middle, least], [3, 0.5, -2], atol=0.01)


def test_eigenvalues_are_those_of_numpy():
    parts = np.random.default_rng(0).standard_normal((6, 50)).astype(np.float32)
    parts[:, 0] = 0
    parts[:, 1] = [2, 2, 2, 0, 0, 0]
    a, b, c, d, e, f = parts
    matrices = np.array([[a, d, e], [d, b, f], [e, f, c]]).transpose(2, 0, 1)
    found = np.stack(symmetric_eigenvalues((a, b, c), (d, e, f)), axis=1)
    np.testing.assert_allclose(found, np.linalg.eigvalsh(matrices)[:, ::-1], atol=1e-4)
