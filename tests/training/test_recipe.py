"""Recipe files."""

from pathlib import Path

import pytest

from napari_asmlp.errors import SettingsError
from napari_asmlp.training.classifier import read_classifier_recipe
from napari_asmlp.training.folds import parse_fold
from napari_asmlp.training.recipe import RECIPE, Recipe, read_recipe

SHIPPED = Path(__file__).parents[2] / "src_resources"


def test_shipped_recipes_are_sound():
    segmenters = [path for path in SHIPPED.glob("*.toml") if path.stem != "adrenal-mass"]
    recipes = {path.stem: read_recipe(path) for path in segmenters}
    assert read_classifier_recipe(SHIPPED / "adrenal-mass.toml").folds
    assert recipes["hippocampus"].name == "hippocampus"


def test_a_recipe_comes_back_from_its_dump():
    recipe = Recipe(fold="2/4", crop=(8, 8, 16))
    assert RECIPE.validate_json(RECIPE.dump_json(recipe)) == recipe


@pytest.mark.parametrize(
    ("fold", "expected"), [("1/5", (0, 5)), ("5/5", (4, 5)), ("2/10", (1, 10))]
)
def test_folds(fold, expected):
    assert parse_fold(Recipe(fold=fold).fold) == expected


def test_nobody_has_to_choose_a_fold():
    assert Recipe().fold == "auto"
    assert Recipe(patience=3).patience == 3


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("epochs = 0", "epochs"),
        ("epoch = 3", "epoch"),
        ("fold = '6/5'", "6/5"),
        ("fold = '1/1'", "1/1"),
        ("[network]\nwidths = [8]", "widths"),
        ("learning_rate = 'fast'", "learning_rate"),
        ("epochs = ", "not a TOML"),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path, text, word):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=rf"wrong\.toml: .*{word}"):
        read_recipe(path)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"absent\.toml: the recipe cannot be read"):
        read_recipe(tmp_path / "absent.toml")
