"""Which way anatomy lies: tables for both conventions, checked against what a hand would draw."""

from __future__ import annotations

import numpy as np
import pytest

from napari_asmlp.viewer.anatomy import (
    AXIAL,
    CORONAL,
    PLANES,
    SAGITTAL,
    CameraOrientation,
    Convention,
    Edges,
    Order,
    camera_orientation,
    edge_letters,
    order_of,
    other_planes,
    plane_shown,
)

NAPARI: CameraOrientation = ("towards", "down", "right")
RADIOLOGICAL: CameraOrientation = ("away", "up", "left")


@pytest.mark.parametrize(
    ("name", "ndim", "order"),
    [
        ("Axial", 3, (0, 1, 2)),
        ("Coronal", 3, (1, 0, 2)),
        ("Sagittal", 3, (2, 0, 1)),
        ("Sagittal", 4, (0, 3, 1, 2)),
        ("Coronal", 2, (0, 1)),
    ],
)
def test_order_of_a_plane(name: str, ndim: int, order: Order) -> None:
    plane = {plane.name: plane for plane in PLANES}[name]
    assert order_of(plane, ndim) == order


@pytest.mark.parametrize(
    ("order", "main", "others"),
    [
        ((0, 1, 2), AXIAL, (CORONAL, SAGITTAL)),
        ((0, 2, 1), AXIAL, (CORONAL, SAGITTAL)),  # transposed
        ((1, 0, 2), CORONAL, (AXIAL, SAGITTAL)),
        ((1, 2, 0), CORONAL, (AXIAL, SAGITTAL)),
        ((2, 0, 1), SAGITTAL, (AXIAL, CORONAL)),
        ((0, 3, 1, 2), SAGITTAL, (AXIAL, CORONAL)),
        ((1, 2, 0, 3), None, (CORONAL, SAGITTAL)),  # time runs vertically
        ((0, 1), None, (CORONAL, SAGITTAL)),
    ],
)
def test_main_plane_and_the_others(order: Order, main: object, others: object) -> None:
    assert plane_shown(order) is main
    assert other_planes(order) == others


@pytest.mark.parametrize(
    ("order", "convention", "letters"),
    [
        # left, right, top, bottom
        ((0, 1, 2), "radiological", "RLAP"),
        ((1, 0, 2), "radiological", "RLSI"),
        ((2, 0, 1), "radiological", "APSI"),
        ((0, 1, 2), "neurological", "LRAP"),
        ((1, 0, 2), "neurological", "LRSI"),
        ((2, 0, 1), "neurological", "APSI"),
        ((0, 2, 1), "radiological", "APRL"),
        ((0, 1, 2, 3), "radiological", "RLAP"),
        ((0, 3, 1, 2), "neurological", "APSI"),
    ],
)
def test_letters_of_planes(order: Order, convention: Convention, letters: str) -> None:
    assert edge_letters(order, camera_orientation(order, convention)) == Edges(*letters)


@pytest.mark.parametrize(
    ("order", "orientation", "edges"),
    [
        ((0, 1, 2), NAPARI, ("L", "R", "P", "A")),  # napari's default: anterior below
        ((0, 1, 2), ("away", "down", "left"), ("R", "L", "P", "A")),
        ((2, 0, 1), ("away", "up", "right"), ("P", "A", "S", "I")),
        ((1, 2, 3, 0), RADIOLOGICAL, ("", "", "R", "L")),  # time runs horizontally
        ((0, 1), RADIOLOGICAL, ("", "", "", "")),
    ],
)
def test_letters_follow_the_camera(
    order: Order, orientation: CameraOrientation, edges: tuple[str, str, str, str]
) -> None:
    assert edge_letters(order, orientation) == Edges(*edges)


@pytest.mark.parametrize("convention", ["radiological", "neurological"])
@pytest.mark.parametrize(
    "order", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (1, 0, 2), (2, 1, 0)]
)
def test_3d_is_never_mirrored(order: Order, convention: Convention) -> None:
    """Seen along depth, right × anterior × superior keep their handedness on screen."""
    depth, vertical, horizontal = camera_orientation(order, convention)
    # where each shown axis leads, as (to the right, up, towards the viewer): a right-handed frame
    directions = {"right": 1, "left": -1, "up": 1, "down": -1, "towards": 1, "away": -1}
    on_screen = np.zeros((3, 3))
    on_screen[order[0], 2] = directions[depth]
    on_screen[order[1], 1] = directions[vertical]
    on_screen[order[2], 0] = directions[horizontal]
    superior, anterior, right = on_screen
    assert np.linalg.det([right, anterior, superior]) == 1
