"""Where to paint next, in words and on screen."""

import numpy as np
import pytest

from napari_asmlp.teaching.doubt import Place
from napari_asmlp.viewer.layers import source_view
from napari_asmlp.viewer.teach.classes import new_annotations
from napari_asmlp.viewer.teach.next_place import Look, following, go_to, place_text, worth_text
from tests.viewer.teach.scans import SHAPE, scan

# the axes of the file lead to the left, down and backwards: across S, A and R lie j, k and i
PLACES = (Place(1, 4, (3, 4, 5), 120.0), Place(2, 5, (3, 4, 5), 80.0), Place(0, 3, (3, 4, 5), 9.5))


@pytest.fixture
def layer(viewer):
    image = viewer.add_layer(scan())
    return viewer.add_layer(new_annotations(image))


@pytest.mark.parametrize(("place", "across"), list(zip(PLACES, (0, 1, 2), strict=True)))
def test_the_viewer_goes_to_the_voxel_in_its_plane(viewer, layer, place, across):
    viewer.dims.ndisplay = 3
    go_to(viewer, layer, place)
    assert viewer.dims.ndisplay == 2
    assert viewer.dims.not_displayed == (across,)
    at = tuple(layer.world_to_data(viewer.dims.point).round().astype(int))
    source_view(layer)[place.voxel] = 7
    assert layer.data[at] == 7
    centre = [viewer.scene.camera.center[1:][n] for n in (0, 1)]
    assert centre == pytest.approx([viewer.dims.point[axis] for axis in viewer.dims.displayed])


def test_it_is_said_in_anatomical_words(layer):
    texts = [place_text(layer, place) for place in PLACES]
    assert [text.split(" slice")[0] for text in texts] == ["Axial", "Coronal", "Sagittal"]
    assert texts[0].endswith("(worth 120 voxels)")


def test_asked_again_the_next_best_comes():
    assert following(PLACES, None) is PLACES[0]
    assert following(PLACES, PLACES[0]) is PLACES[1]
    assert following(PLACES, PLACES[2]) is PLACES[0]
    assert following((), None) is None


@pytest.mark.parametrize(
    ("changed", "doubt", "words"),
    [
        (0, 0, "Enough is painted: the last round changed 0.0 %"),
        (1, 0, "More painting still helps: the last round changed 5.6 %"),
        (0, 200, "More painting still helps where there is doubt: the last round changed 0.0 %"),
    ],
)
def test_whether_more_painting_helps(changed, doubt, words):
    earlier, labels = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    labels[:, :changed] = 1
    assert words in worth_text(Look(labels, np.full(SHAPE, doubt, np.uint8), earlier))
    assert worth_text(Look(labels, np.zeros(SHAPE, np.uint8))) == ""
