"""What is being taught, over any number of rounds and volumes.

A round labels one volume by what annotations of all volumes teach, better and better. Between
rounds people paint, correct, add volumes, or go back to what was learnt before.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from napari_asmlp.card import Preprocessing
from napari_asmlp.errors import SettingsError, VolumeError
from napari_asmlp.model import Model
from napari_asmlp.teaching import encoder
from napari_asmlp.teaching.annotations import Annotation
from napari_asmlp.teaching.apply import iter_applied
from napari_asmlp.teaching.behind import NetworkLearner
from napari_asmlp.teaching.learnt import Learnt, beginning, teachable, with_classes
from napari_asmlp.teaching.progress import (
    Clock,
    Taught,
    TaughtAnswer,
    TeachProgress,
    TeachSettings,
)
from napari_asmlp.teaching.round import Round, taught_model
from napari_asmlp.teaching.subject import Subject
from napari_asmlp.volume import Volume


class Teacher:
    """Learns from annotations of volumes; what it computes of a volume is kept between rounds.

    Parameters
    ----------
    settings : of each round
    start : model whose weights the network begins with; the package's own encoder if None

    Raises
    ------
    ModelError
        If `start` is no segmentation model, or of another architecture.
    """

    def __init__(self, settings: TeachSettings | None = None, start: Model | None = None) -> None:
        self.settings = settings or TeachSettings()
        self._start = start
        self._subjects: dict[str, Subject] = {}
        if start is not None:
            teachable(start)
        self._preprocessing = start.card.preprocessing if start else None
        self._channels: int | None = None
        self._learnt: Learnt | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the volumes that there are annotations of."""
        return tuple(self._subjects)

    def set_volume(self, key: str, volume: Volume, annotation: Annotation) -> None:
        """Take a volume in, or new annotations of it.

        Parameters
        ----------
        key : what it is called from now on; the same key with another volume replaces it

        Raises
        ------
        VolumeError
            If the annotations have another shape, or the volume other channels than those before.
        """
        if annotation.classes.shape != volume.grid.shape:
            raise VolumeError(
                f"{volume.name}: annotations of {annotation.classes.shape} voxels do not lie on"
                f" its grid of {volume.grid.shape}"
            )
        there = self._subjects.get(key)
        if there is None or there.volume is not volume:
            self._check_channels(volume)
            there = Subject(volume, self._seen_as(volume))
            self._subjects[key] = there
        there.annotation = annotation

    def remove(self, key: str) -> None:
        """Forget a volume; what was learnt from it stays until the next round."""
        self._check_key(key)
        del self._subjects[key]

    def iter_round(self, shown: str) -> Generator[TeachProgress, None, Taught]:
        """Learn from the annotations of all volumes, and label one of them.

        Each answer is better than those before it, until the seconds of the settings are over. The
        network goes on from where the last round left it. Closed between two steps, what is
        learnt and the last answer are kept.

        Parameters
        ----------
        shown : key of the volume to label

        Yields
        ------
        TeachProgress
            Often; some with a new answer.

        Raises
        ------
        SettingsError
            If there is no such volume.
        VolumeError
            If a volume has a constant channel, or no finite voxel.
        """
        self._check_key(shown)
        learnt = self._ready()
        clock = Clock(self.settings.seconds)
        work = Round(learnt, self._subjects, shown, self.settings, clock).run()
        return (yield from clock.counted(work))

    def iter_apply(self, volume: Volume) -> Generator[TeachProgress, None, TaughtAnswer]:
        """Label a volume that has no annotations by what was learnt; place is not used there.

        Raises
        ------
        SettingsError
            If nothing has been learnt yet.
        VolumeError
            If it has other channels than the volumes before, a constant one, or no finite voxel.
        """
        learnt = self._after_an_answer()
        self._check_channels(volume)
        subject = Subject(volume, self._seen_as(volume))
        clock = Clock(self.settings.seconds)
        work = iter_applied(learnt, self._subjects, subject, self.settings, clock)
        return (yield from clock.counted(work))

    def model(self) -> Model:
        """Return what is learnt so far as a model that `segment` takes.

        Raises
        ------
        SettingsError
            If nothing has been learnt yet.
        """
        return taught_model(self._after_an_answer(), self._subjects, self.settings.seed)

    def snapshot(self) -> Learnt:
        """Return what is learnt so far, to go back to.

        Raises
        ------
        SettingsError
            If nothing has been learnt yet.
        """
        return self._after_an_answer().kept()

    def restore(self, snapshot: Learnt) -> None:
        """Go back to what had been learnt; volumes and annotations stay as they are."""
        self._learnt = snapshot.kept()

    def _ready(self) -> Learnt:
        """Return what is learnt, with an output for each label value that is annotated now."""
        found = {value for one in self._subjects.values() for value in _values(one)}
        values = (0, *sorted(found - {0}))
        seed = self.settings.seed
        channels = next(iter(self._subjects.values())).volume.channels
        if self._learnt is None:
            network = beginning(self._start, channels, values, seed)
            learner = NetworkLearner(network, self.settings.finetune, seed)
            self._learnt = Learnt(values, learner)
        elif self._learnt.values != values:
            before = self._learnt
            network = with_classes(before.network.network, before.values, values, channels, seed)
            self._learnt = Learnt(values, before.network.going_on(network))
        return self._learnt

    def _after_an_answer(self) -> Learnt:
        if self._learnt is None or self._learnt.light is None:
            raise SettingsError("nothing has been taught yet: annotate a volume and teach first")
        return self._learnt

    def _check_key(self, key: str) -> None:
        if key not in self._subjects:
            there = ", ".join(self._subjects) or "none"
            raise SettingsError(f"no volume {key!r} has been given; there are: {there}")

    def _check_channels(self, volume: Volume) -> None:
        if self._channels not in (None, volume.channels):
            raise VolumeError(
                f"{volume.name} has {volume.channels} channels; those taught so far have"
                f" {self._channels}, and all must have the same"
            )
        self._channels = volume.channels

    def _seen_as(self, volume: Volume) -> Preprocessing:
        """Return how volumes are brought to the network: as the first one is."""
        if self._preprocessing is None:
            spacing = encoder.working_spacing(volume.grid, encoder.TAUGHT_MM)
            self._preprocessing = Preprocessing(spacing=spacing)
        if len(self._preprocessing.fixed) not in (0, volume.channels):
            self._preprocessing = replace(self._preprocessing, fixed=())
        return self._preprocessing


def _values(subject: Subject) -> tuple[int, ...]:
    return () if subject.annotation is None else subject.annotation.values
