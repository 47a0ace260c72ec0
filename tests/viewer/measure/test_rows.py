"""Rows, sorting and filtering of the table, without a window."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt

from napari_asmlp.measure import columns, measure
from napari_asmlp.viewer.layers import volume_of
from napari_asmlp.viewer.measure.model import MeasureModel, shown_text
from napari_asmlp.viewer.measure.rows import Table, measured_table, overlap_table

DOWN = Qt.SortOrder.DescendingOrder


@pytest.fixture
def layer():
    """Labels 1 (3 voxels of 2 mm³), 2 (1 voxel) and 5 (2 voxels)."""
    array = np.zeros((3, 4, 5), np.uint8)
    array[0, 0, :3], array[1, 1, 1], array[2, 2, 3:] = 1, 2, 5
    return Labels(array, scale=(2, 1, 1), name="cells")


@pytest.fixture
def table(layer):
    rows = measure(volume_of(layer))
    return lambda: measured_table(rows, layer, objects=False, intensities=False)


def shown(model, column):
    return [row[column] for row in model.shown]


def test_names_and_features_join_on_the_index(layer, table):
    assert [row["name"] for row in table().records] == ["label 1", "label 2", "label 5"]
    layer.features = {
        "index": [0, 2, 1],
        "name": ["background", "b", "a"],
        "class": [None, "mass", "normal"],
        "confidence": [np.nan, 0.75, np.nan],
    }
    found = table()
    assert [row["name"] for row in found.records] == ["a", "b", "label 5"]
    assert [row.get("class") for row in found.records] == ["normal", "mass", None]
    assert [row.get("confidence") for row in found.records] == [None, 0.75, None]
    assert found.columns[:4] == ("label", "name", "class", "confidence")
    assert found.saved == (*columns(), "class", "confidence")


def test_features_without_an_index_join_nothing(layer, table):
    layer.features = {"area": [1.0, 2.0]}
    assert "area" not in table().columns


def test_a_feature_may_be_called_as_a_measure_is(layer, table):
    layer.features = {"index": [1], "voxels": [-7]}
    found = table()
    assert found.records[0]["voxels"] == 3
    model = MeasureModel()
    model.show(found)
    titles = [model.headerData(n, Qt.Orientation.Horizontal) for n in range(model.columnCount())]
    assert titles.count("voxels") == 1 and titles.count("Voxels") == 1
    assert found.records[0][found.columns[titles.index("voxels")]] == -7


def test_volumes_come_in_ml_too_and_intensities_only_with_an_image(table):
    found = table()
    assert [row["volume_ml"] for row in found.records] == pytest.approx([0.006, 0.002, 0.004])
    assert "mean" not in found.columns
    assert "object" not in found.columns


def test_sorting_by_a_column_leaves_what_has_no_value_last(layer, table):
    layer.features = {"index": [1, 5], "class": ["b", "a"]}
    model = MeasureModel()
    model.show(table())
    for column, up, down in (
        ("voxels", [2, 5, 1], [1, 5, 2]),
        ("class", [5, 1, 2], [1, 5, 2]),
        ("label", [1, 2, 5], [5, 2, 1]),
    ):
        place = model.table.columns.index(column)
        model.sort(place)
        assert shown(model, "label") == up
        model.sort(place, DOWN)
        assert shown(model, "label") == down
    model.show(table())  # stays sorted when there are new numbers
    assert shown(model, "label") == [5, 2, 1]
    model.sort(-1)
    assert shown(model, "label") == [1, 2, 5]


def test_the_filter_takes_words_of_label_name_and_features(layer, table):
    names = ["left Kidney", "right kidney"]
    layer.features = {"index": [1, 2], "name": names, "class": ["mass", "normal"]}
    model = MeasureModel()
    model.show(table())
    for text, labels in (
        ("kidney", [1, 2]),
        ("KIDNEY left", [1]),
        ("normal", [2]),
        ("label 5", [5]),
        ("kidney liver", []),
        ("  ", [1, 2, 5]),
    ):
        model.filter(text)
        assert shown(model, "label") == labels


def test_cells_are_short_and_whole_numbers_whole():
    cells = (12345, 12345.6, 1.23456, 0.000012345, -2000.4, None, "liver", 1e20)
    texts = ["12,345", "12,346", "1.235", "1.234e-05", "-2,000", "", "liver", "1e+20"]
    assert [shown_text(cell) for cell in cells] == texts


def test_overlap_is_a_table_of_labels():
    case = {"3": {"dice": 0.5, "hd95_mm": None, "assd_mm": 1.0, "volume_mm3": 2.0}}
    model = MeasureModel()
    model.show(overlap_table(case, {3: "liver"}))
    cells = [model.index(0, n).data() for n in range(model.columnCount())]
    assert cells == ["3", "liver", "0.5", "", "1"]


def test_an_empty_table_has_no_rows():
    model = MeasureModel()
    model.show(Table())
    model.set_stale(True)
    assert (model.rowCount(), model.columnCount()) == (0, 0)
