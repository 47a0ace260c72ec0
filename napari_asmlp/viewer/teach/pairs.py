"""Which images are taught by which annotations: what the panel remembers of a viewer's layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from napari.layers import Labels

from napari_asmlp.viewer.layers import channels_beside

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from napari_asmlp.project import ProjectVolume

TAUGHT_KEY = "napari_asmlp_taught"  # in the metadata of a layer that holds taught labels


@dataclass(eq=False)
class Pair:
    """An image and what belongs to it.

    Attributes
    ----------
    key : what the teacher calls it
    channels : the image and others of its grid, that are looked at together
    annotations, taught : None where there are none yet
    takes_part : whether its annotations are learnt from
    is_ticked : whether somebody has chosen the channels
    entry : of the project that it is saved in, as long as its channels stay
    """

    key: str
    image: Image
    channels: tuple[Image, ...]
    annotations: Labels | None = None
    taught: Labels | None = None
    takes_part: bool = True
    is_ticked: bool = False
    entry: ProjectVolume | None = None

    def layers(self) -> Iterator[Layer]:
        """Yield all of them."""
        yield from self.channels
        for layer in (self.annotations, self.taught):
            if layer is not None:
                yield layer


class Pairs:
    """The images of a viewer that have been chosen, each with its annotations."""

    def __init__(self) -> None:
        self._pairs: dict[Image, Pair] = {}
        self._numbers = count(1)

    def __iter__(self) -> Iterator[Pair]:
        """Go through those that have annotations, in the order in which they were begun."""
        return (pair for pair in self._pairs.values() if pair.annotations is not None)

    def of(self, image: Image, layers: Iterable[Layer] = ()) -> Pair:
        """Return what belongs to an image, or to that which it is a channel of.

        At first all channels of its file are looked at together.
        """
        pair = next((each for each in self if image in each.channels), self._pairs.get(image))
        if pair is None:
            pair = Pair(f"volume {next(self._numbers)}", image, (image,))
            self._pairs[image] = pair
        if pair.annotations is None and not pair.is_ticked:  # layers come one by one
            pair.channels = tuple(channels_beside(image, layers)) or (image,)
        return pair

    def forget_gone(self, layers: Iterable[Layer]) -> list[tuple[Pair, Layer]]:
        """Let go of what is no longer among the layers; returns that, and whose it was."""
        there, gone = set(layers), []
        for image, pair in list(self._pairs.items()):
            gone += [(pair, layer) for layer in pair.layers() if layer not in there]
            pair.channels = tuple(each for each in pair.channels if each in there)
            if pair.annotations not in there:
                pair.annotations = None
            if pair.taught not in there:
                pair.taught = None
            if image not in there:
                del self._pairs[image]
        return gone


def is_taught(layer: Labels) -> bool:
    """Tell whether a layer holds taught labels, and no annotations."""
    return TAUGHT_KEY in layer.metadata
