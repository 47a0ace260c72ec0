"""The last layer alone, fitted to what there is to learn from."""

import numpy as np
import torch

from napari_asmlp.networks.asmlp import Asmlp, AsmlpConfig
from napari_asmlp.teaching.finetune import last_layer, teaching_sample
from napari_asmlp.teaching.head import fit_head

SIZES = AsmlpConfig(
    patch_size=2,
    stem_size=4,
    widths=(8, 16),
    encoder_blocks=(1, 1),
    decoder_blocks=(1,),
    out_channels=2,
)


def bright_half():
    """A volume whose upper half is bright, and classes that say so on four planes of it."""
    image = np.full((1, 16, 16, 16), -1, np.float32)
    image[:, 8:] = 1
    annotated = np.full((16, 16, 16), -1, np.int16)
    annotated[2:4], annotated[12:14] = 0, 1
    return image, annotated


def test_a_network_knows_what_it_was_shown_before_its_first_step():
    torch.manual_seed(0)
    network, (image, annotated) = Asmlp(SIZES).eval(), bright_half()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fit_head(network, [teaching_sample(image, annotated, annotated * 0 - 1, 2)], 16, seed=0)
    found = network(torch.from_numpy(image)[None]).argmax(dim=1)[0]
    assert found[2:4].float().mean() < 0.05
    assert found[12:14].float().mean() > 0.95
    changed = [k for k, v in network.state_dict().items() if not torch.equal(v, before[k])]
    assert changed == ["head.1.weight", "head.1.bias"]


def test_nothing_annotated_leaves_it_as_it_was():
    network, (image, annotated) = Asmlp(SIZES).eval(), bright_half()
    before = last_layer(network).weight.detach().clone()
    nothing = np.full_like(annotated, -1)
    fit_head(network, [teaching_sample(image, nothing, nothing, 2)], 16, seed=0)
    assert torch.equal(last_layer(network).weight, before)
