"""What was learnt, on a volume that has no annotations."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from napari_asmlp.teaching import encoder
from napari_asmlp.teaching.answer import Answer, Mixture, iter_answer
from napari_asmlp.teaching.choice import Features, Lesson, iter_taught, known_by
from napari_asmlp.teaching.learnt import Learnt, Light, Look
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

    Light learners to whom place means nothing are taught once, and kept until the next round.

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
    work_ = _iter_labelled(learnt, learnt.away, subject)
    return told(_WHAT, subject, (yield from followed(clock, _WHAT, work_)), learnt.values)


def _iter_without_place(
    learnt: Learnt, subjects: Mapping[str, Subject], settings: TeachSettings
) -> Generator[float, None, Light]:
    count, seed = len(learnt.values), settings.seed
    features = Features(tokens=all(one.tokens for one in subjects.values()))
    lessons = [Lesson(one, one.classes(learnt.values)) for one in subjects.values()]
    first = yield from iter_taught(lessons, count, features, settings.light, seed)
    again = []
    for lesson in lessons:
        answer = yield from iter_answer(Mixture(first, lesson.maps(features)), count)
        again.append(Lesson(lesson.subject, lesson.classes, earlier=answer))
    second = yield from iter_taught(again, count, features, settings.light, seed)
    return Light(Look(features, first), Look(features, second))


def _iter_labelled(
    learnt: Learnt, light: Light, subject: Subject
) -> Generator[float, None, Answer]:
    count, look = len(learnt.values), light.second or light.first
    features = light.first.features
    first = Mixture(light.first.learner, known_by(subject, features))
    answer = yield from iter_answer(first, count)
    share = learnt.share or 0.0
    network = learnt.network.logits(subject) if share else None
    maps = known_by(subject, features, answer)
    return (yield from iter_answer(Mixture(look.learner, maps, network, share), count))
