"""From layers to what the teacher is asked, without a window."""

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_asmlp.errors import GridError, SettingsError, VolumeError
from napari_asmlp.teaching.annotations import UNANNOTATED
from napari_asmlp.viewer.layers import image_layer_data, labels_on
from napari_asmlp.viewer.teach.classes import BACKGROUND, new_annotations
from napari_asmlp.viewer.teach.request import Source, Wish, resolve, volume_with
from napari_asmlp.viewer.teach.tally import tally
from tests.viewer.teach.scans import BALL, SHAPE, image_volume, paint_slice, scan, stroke


def source(image, annotations, *others, key="a", taught=None):
    return Source(key, (image, *others), annotations, taught)


def annotation(subject):
    painted = subject.painted()
    return subject.annotation(painted, tally(painted))


def test_what_is_painted_is_what_is_learnt_from():
    image = scan()
    layer = new_annotations(image)
    paint_slice(layer, 7)
    order = resolve(Wish(source(image, layer), seconds=5))
    assert (order.shown, order.seconds, order.title) == ("a", 5, "ball 0")
    (subject,) = order.subjects
    found = annotation(subject)
    assert found.values == (0, 1)
    np.testing.assert_array_equal(found.classes[..., 7], BALL[..., 7])
    assert (np.delete(found.classes, 7, axis=2) == UNANNOTATED).all()
    np.testing.assert_array_equal(subject.volume.array(), image_volume().array())


def test_corrections_of_the_taught_labels_are_learnt_from_too():
    image = scan()
    layer, taught = new_annotations(image), labels_on(image, np.zeros(SHAPE, np.uint8))
    paint_slice(layer, 7)
    from napari_asmlp.viewer.history.edits import edits_of

    edits_of(taught)
    stroke(taught, np.s_[1, 2, 3], 1)
    (subject,) = resolve(Wish(source(image, layer, taught=taught))).subjects
    assert annotation(subject).classes[1, 2, 3] == 1
    stroke(taught, np.s_[1, 2, 3], 0)
    assert annotation(subject).classes[1, 2, 3] == 0


def test_layers_of_one_grid_are_channels():
    one, two = scan(0), scan(1)
    volume = volume_with((one, two))
    assert volume.channels == 2
    expected = np.stack([image_volume(0).array(), image_volume(1).array()], axis=-1)
    np.testing.assert_array_equal(volume.array(), expected)
    np.testing.assert_array_equal(volume.data[2, 3], expected[2, 3])


def moved():
    layer = scan()
    layer.metadata.clear()
    layer.translate = (5, 0, 0)
    layer.name = "moved"
    return layer


def test_what_cannot_be_done_is_refused_in_words():
    image = scan()
    layer = new_annotations(image)
    for wish, error, words in (
        (Wish(None), SettingsError, "there is no image"),
        (Wish(source(image, None)), SettingsError, "'ball 0' has no annotations: press New"),
        (Wish(source(moved(), layer)), GridError, "choose labels of that image"),
        (Wish(source(image, layer, moved())), GridError, "channel 'moved' .* untick it"),
        (
            Wish(source(image, layer), (source(image, layer, scan(1), key="b"),)),
            SettingsError,
            "ball 0 has 2 channels, ball 0 1: tick as many of each",
        ),
        (
            Wish(source(Image(np.zeros((4, 4)), name="flat"), layer)),
            SettingsError,
            "'flat' has 2 axes",
        ),
    ):
        with pytest.raises(error, match=words):
            resolve(wish)


@pytest.mark.parametrize(
    ("strokes", "words"),
    [
        ([], "ball 0: Nothing is painted yet"),
        ([(np.s_[1, 1, 1:4], 1)], "ball 0: Only 'class 1' is painted"),
        ([(np.s_[1, 1, 1:4], 1), (np.s_[2, 2, 2], BACKGROUND)], "'background' is painted on a sin"),
    ],
)
def test_too_little_is_refused_by_the_names_of_the_classes(strokes, words):
    image = scan()
    layer = new_annotations(image)
    for index, value in strokes:
        stroke(layer, index, value)
    (subject,) = resolve(Wish(source(image, layer))).subjects
    with pytest.raises(VolumeError, match=words):
        annotation(subject)


def test_labels_that_are_not_in_memory_are_refused():
    class Lazy:
        shape, dtype, ndim = SHAPE, np.dtype(np.uint8), 3

        def __getitem__(self, key):
            return np.zeros(SHAPE, np.uint8)[key]

        def __array__(self, dtype=None):
            return np.zeros(SHAPE, np.uint8)

    image = Image(np.zeros(SHAPE, np.float32))
    with pytest.raises(SettingsError, match="are not in memory"):
        resolve(Wish(source(image, Labels(Lazy(), name="lazy"))))


def test_channels_of_one_file_belong_together():
    from napari_asmlp.viewer.teach.pairs import Pairs

    layers = [Image(d, **a) for d, a, _ in image_layer_data(image_volume(channels=2))]
    pair = Pairs().of(layers[1], [*layers, scan(3)])
    assert set(pair.channels) == set(layers)
    assert Pairs().of(scan(3), layers).channels[0].name == "ball 3"
