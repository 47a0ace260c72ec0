"""The 3D MLP-Mixer against hand-made sums, a convolution, and its own symmetries."""

import doctest
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from napari_asmlp.errors import ModelError
from napari_asmlp.networks import mixer
from napari_asmlp.networks.cost import count_parameters
from napari_asmlp.networks.mixer import Mixer, MixerConfig, patches

CONFIG = MixerConfig(
    input_size=(8, 4, 4),
    patch_size=2,
    in_channels=2,
    out_channels=3,
    width=6,
    depth=2,
    token_width=5,
    channel_width=7,
)


def network(**changes):
    torch.manual_seed(0)
    return Mixer(replace(CONFIG, **changes)).eval()


def volumes(count=2):
    return torch.randn(count, 2, 8, 4, 4, generator=torch.Generator().manual_seed(1))


def test_the_arithmetic_of_the_module_holds():
    assert doctest.testmod(mixer) == (0, 4)


def test_patches_go_along_z_first_then_y_then_x():
    """A 2x2x4 volume of ascending numbers in patches of 2: two tokens of 8 voxels."""
    volume = torch.arange(16.0).reshape(1, 1, 2, 2, 4)
    assert patches(volume, 2).tolist() == [
        [[0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15]]
    ]


def test_the_embedding_is_a_convolution_that_steps_from_patch_to_patch():
    net, volume = network(), volumes()
    kernel = net.embedding.weight.reshape(6, 2, 2, 2, 2)
    expected = functional.conv3d(volume, kernel, net.embedding.bias, stride=2)
    found = net.embedding(patches(volume, 2))
    torch.testing.assert_close(found, expected.flatten(2).transpose(1, 2))


def test_parameters_are_those_of_the_paper():
    """A block mixes 16 tokens through 5 units, 6 channels through 7, and has two norms."""
    tokens, width = 16, 6
    block = (2 * tokens * 5 + 5 + tokens) + (2 * width * 7 + 7 + width) + 2 * 2 * width
    embedding, head = 2 * 8 * width + width, width * 3 + 3
    assert count_parameters(network()) == embedding + 2 * block + 2 * width + head


def test_token_mixing_is_the_same_for_each_channel_and_the_other_way_round():
    """Equal channels get the same from the tokens, equal tokens the same from the channels."""
    block = network().blocks[0]
    tokens = torch.randn(1, 16, 1).expand(1, 16, 6)
    across = block.token_mlp(tokens.transpose(1, 2))
    torch.testing.assert_close(across, across[:, :1].expand(1, 6, 16))
    channels = torch.randn(1, 1, 6).expand(1, 16, 6)
    mixed = block.channel_mlp(channels)
    torch.testing.assert_close(mixed, mixed[:, :1].expand(1, 16, 6))


def test_logits_are_the_head_of_the_features():
    net, volume = network(), volumes()
    assert net.features(volume).shape == (2, 6)
    torch.testing.assert_close(net(volume), net.head(net.features(volume)))


@pytest.mark.parametrize("axes", [(0,), (0, 2), (0, 1, 2)])
def test_answers_are_the_mean_over_mirrorings(axes):
    plain, mirrored, volume = network(), network(mirror_axes=axes), volumes()
    flips = [[]]
    for axis in axes:
        flips += [[*flip, axis + 2] for flip in flips]
    expected = torch.stack([plain(volume.flip(flip)) for flip in flips]).mean(dim=0)
    torch.testing.assert_close(mirrored(volume), expected)
    torch.testing.assert_close(mirrored(volume.flip(axes[0] + 2)), mirrored(volume))
    assert not torch.allclose(plain(volume.flip(2)), plain(volume))
    torch.testing.assert_close(mirrored.train()(volume), plain(volume))


def test_fixed_channels_are_not_mirrored():
    plain, mirrored = network(), network(mirror_axes=(1,), fixed_channels=1)
    volume = volumes()
    other = torch.cat([volume[:, :1].flip(3), volume[:, 1:]], dim=1)
    torch.testing.assert_close(mirrored(volume), (plain(volume) + plain(other)) / 2)


@pytest.mark.parametrize("shape", [(1, 2, 8, 4, 2), (1, 1, 8, 4, 4), (1, 2, 16, 4, 4)])
def test_volumes_of_another_size_are_refused(shape):
    with pytest.raises(ModelError, match=r"takes \(2, 8, 4, 4\)"):
        network()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_size": (8, 4, 5)}, r"\(8, 4, 5\).*multiple"),
        ({"patch_size": 0}, "at least 1"),
        ({"depth": 0}, "at least 1"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"mirror_axes": (0, 0)}, "each once"),
        ({"mirror_axes": (3,)}, r"\(3,\)"),
        ({"fixed_channels": 2}, "of 2 channels"),
    ],
)
def test_what_cannot_be_built_is_named(changes, words):
    with pytest.raises(ModelError, match=words):
        replace(CONFIG, **changes)
