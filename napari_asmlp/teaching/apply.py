"""What was learnt, on a volume that has no annotations."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from napari_asmlp.teaching import encoder
from napari_asmlp.teaching.answer import Mixture, iter_answer
from napari_asmlp.teaching.choice import Features, Lesson, examples_of, known_by
from napari_asmlp.teaching.learnt import Learnt, Light
from napari_asmlp.teaching.progress import Clock, TaughtAnswer, TeachProgress, TeachSettings
from napari_asmlp.teaching.round import followed, told
from napari_asmlp.teaching.subject import Subject

_WHAT = "labelling"


def iter_applied(
    learnt: Learnt,
    subjects: Mapping[str, Subject],
    subject: Subject,
    settings: TeachSettings,
    clock: Clock,
) -> Generator[TeachProgress, None, TaughtAnswer]:
    """Label a volume by what annotations of others taught.

    A light learner to whom place means nothing is taught once, and kept until the next round.

    Parameters
    ----------
    learnt : its `away` may be changed
    subjects : with annotations
    subject : to label
    """
    yield clock.progress("reading")
    for what in subject.look_near():
        yield clock.progress(what)
    if encoder.is_there():
        for what in subject.look_far(encoder.pretrained_network()):
            yield clock.progress(what)
    if learnt.away is None:
        work = _iter_without_place(learnt, subjects, settings)
        learnt.away = yield from followed(clock, "learning", work)
    share = learnt.share_away
    network = learnt.network.logits(subject) if share else None
    maps = known_by(subject, learnt.away.features)
    mixture = Mixture(learnt.away.learner, maps, network, share)
    answer = yield from followed(clock, _WHAT, iter_answer(mixture, len(learnt.values)))
    return told(_WHAT, subject, answer, learnt.values)


def _iter_without_place(
    learnt: Learnt, subjects: Mapping[str, Subject], settings: TeachSettings
) -> Generator[float, None, Light]:
    light, seed = settings.light, settings.seed
    wanted = learnt.light is not None and learnt.light.features.tokens
    features = Features(tokens=wanted and all(one.tokens for one in subjects.values()))
    lessons = [Lesson(one, one.classes(learnt.values)) for one in subjects.values()]
    examples = examples_of(lessons, len(learnt.values), features, light, seed)
    return Light(features, (yield from examples.iter_grown(range(light.trees), light, seed)))
