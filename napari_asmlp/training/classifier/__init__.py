"""Learning to classify volumes and objects: data, variation, steps and scores."""

from napari_asmlp.training.classifier.dataset import ClassCase, ClassData, read_class_data
from napari_asmlp.training.classifier.recipe import (
    CLASSIFIER_RECIPE,
    ClassifierRecipe,
    Variation,
    read_classifier_recipe,
)
from napari_asmlp.training.classifier.report import calibration_error, score_classes
from napari_asmlp.training.classifier.samples import (
    CaseReader,
    ClassSamples,
    choose_input,
    choose_measurements,
    prepare,
)
from napari_asmlp.training.classifier.split import ClassSplit, class_splits
from napari_asmlp.training.classifier.trainer import ClassifierRun, ClassProgress, logits_of

__all__ = [
    "CLASSIFIER_RECIPE",
    "CaseReader",
    "ClassCase",
    "ClassData",
    "ClassProgress",
    "ClassSamples",
    "ClassSplit",
    "ClassifierRecipe",
    "ClassifierRun",
    "Variation",
    "calibration_error",
    "choose_input",
    "choose_measurements",
    "class_splits",
    "logits_of",
    "prepare",
    "read_class_data",
    "read_classifier_recipe",
    "score_classes",
]
