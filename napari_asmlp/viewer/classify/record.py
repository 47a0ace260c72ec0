"""What is known of the objects of a labels layer: a frozen value, and one step back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from napari_asmlp.errors import SettingsError
from napari_asmlp.viewer.classify.bars import percent
from napari_asmlp.viewer.classify.lesson import Lesson
from napari_asmlp.viewer.classify.looks import Answer

if TYPE_CHECKING:
    from napari_asmlp.pipeline.classification import Item
    from napari_asmlp.viewer.classify.looks import Looks
    from napari_asmlp.viewer.classify.request import Order, Pupil


@dataclass(frozen=True, eq=False)
class Record:
    """What is known of a layer.

    Attributes
    ----------
    lesson : what a person said
    items : what a model said, by label value
    order : that the items answer
    pupil : of the last lesson
    places : where in the world examples were clicked, by label value
    before : the record before the last change, and how the layer looked
    """

    lesson: Lesson = field(default_factory=Lesson)
    items: Mapping[int, Item] = field(default_factory=dict)
    order: Order | None = None
    pupil: Pupil | None = None
    places: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    before: tuple[Record, Looks] | None = None

    def after(self, looks: Looks, **changes: object) -> Record:
        """Return the record after a change that can be taken back."""
        earlier = replace(self, before=None)
        return replace(self, **changes, before=(earlier, looks))  # type: ignore[arg-type]  # by name

    @cached_property  # of tens of thousands of objects, it may be
    def answers(self) -> dict[int, Answer]:
        """What stands in the layer's features: a person's word comes before a model's."""
        said = {value: Answer(name) for value, name in self.lesson.examples.items()}
        return {v: Answer(i.class_name, i.confidence) for v, i in self.items.items()} | said

    @property
    def colours(self) -> dict[str, str]:
        """Colour of each class, by its name."""
        known = () if self.order is None else self.order.card.classes
        return {entry.name: entry.colour for entry in (*known, *self.lesson.classes)}

    def explained(self, value: int) -> tuple[Order, Item]:
        """Return what a model says of an object, and the order that this answers.

        Raises
        ------
        SettingsError
            If no model has said anything of it.
        """
        item = self.items.get(value)
        if self.order is None or item is None:
            raise SettingsError("pick an object that a model has classified first")
        return self.order, item

    def title(self, value: int) -> str:
        """Return what is known of an object, in one line."""
        item, said = self.items.get(value), self.lesson.examples.get(value)
        parts = [f"Object {value}"]
        if item is not None:
            parts.append(f"{item.class_name} {percent(item.confidence)}")
        if said is not None:
            parts.append(f"you said {said}")
        return " · ".join(parts) if len(parts) > 1 else f"{parts[0]} has no class yet"

    def summary(self) -> str:
        """Return how many objects are of which class, in one line."""
        answers = self.answers
        counts = Counter(answer.class_name for answer in answers.values())
        each = ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
        return f"{len(answers):,} objects: {each}" if answers else ""


def item_title(item: Item) -> str:
    """Return what an image or a region is, in one line."""
    return f"{item.input} · {item.class_name} {percent(item.confidence)}"
