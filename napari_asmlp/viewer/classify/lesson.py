"""What a person teaches: classes, and objects that are examples of them. Frozen values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from napari_asmlp.card import ClassEntry
from napari_asmlp.errors import SettingsError
from napari_asmlp.zoo import PALETTE

_LONGEST_NAME = 60


@dataclass(frozen=True)
class Lesson:
    """Classes and examples.

    Attributes
    ----------
    classes : in the order in which they were named
    examples : class name by label value, in the order in which they were given
    """

    classes: tuple[ClassEntry, ...] = ()
    examples: Mapping[int, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(entry.name for entry in self.classes)

    @property
    def counts(self) -> dict[str, int]:
        """Number of examples of each class."""
        given = list(self.examples.values())
        return {name: given.count(name) for name in self.names}

    def __bool__(self) -> bool:
        """Whether there is a class."""
        return bool(self.classes)

    @property
    def is_complete(self) -> bool:
        """Whether there are examples of two classes, so that something can be learnt."""
        return len(set(self.examples.values())) > 1

    def with_class(self, name: str) -> Lesson:
        """Add a class, in the first colour that is free.

        Raises
        ------
        SettingsError
            If the name is empty, too long, or taken.
        """
        name = self._checked(name)
        used = {entry.colour for entry in self.classes}
        colour = next((c for c in PALETTE if c not in used), PALETTE[len(used) % len(PALETTE)])
        return replace(self, classes=(*self.classes, ClassEntry(name, colour)))

    def renamed(self, name: str, new: str) -> Lesson:
        """Give a class another name; raises `SettingsError` as `with_class` does."""
        if " ".join(new.split()) == name:
            return self
        new = self._checked(new, but=name)
        classes = (replace(e, name=new) if e.name == name else e for e in self.classes)
        examples = {v: new if given == name else given for v, given in self.examples.items()}
        return Lesson(tuple(classes), examples)

    def without_class(self, name: str) -> Lesson:
        """Take a class away, and its examples."""
        classes = tuple(entry for entry in self.classes if entry.name != name)
        return Lesson(classes, {v: n for v, n in self.examples.items() if n != name})

    def with_example(self, value: int, name: str) -> Lesson:
        """Say that an object is of a class, whatever was said of it before.

        Raises
        ------
        SettingsError
            If the value is background, or there is no such class.
        """
        if value < 1:
            raise SettingsError("there is no object: click one in the image first")
        if name not in self.names:
            raise SettingsError(f"there is no class {name!r}: add it first")
        return replace(self, examples={**self.examples, value: name})

    def without_examples(self, values: Iterable[int]) -> Lesson:
        """Take examples back."""
        gone = set(values)
        return replace(self, examples={v: n for v, n in self.examples.items() if v not in gone})

    def _checked(self, name: str, but: str | None = None) -> str:
        name = " ".join(name.split())
        if not name:
            raise SettingsError("a class needs a name: type one")
        if len(name) > _LONGEST_NAME:
            raise SettingsError(f"class {name[:12]}…: give a name of up to {_LONGEST_NAME} letters")
        for taken in self.names:
            if taken != but and taken.casefold() == name.casefold():
                raise SettingsError(f"there is a class {taken!r} already: type another name")
        return name
