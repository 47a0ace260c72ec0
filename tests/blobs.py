"""A small labelled data set that can be learnt in seconds: bright balls with a dark half."""

import json

import nibabel
import numpy as np

AFFINE = np.array([[-1.0, 0, 0, 8], [0, 0, 1.0, -4], [0, 1.0, 0, 3], [0, 0, 0, 1]])


def ball(seed, shape=(14, 18, 12)):
    """Return an image and its labels 1 (bright) and 2 (brighter), upright axes."""
    random = np.random.default_rng(seed)
    centre = np.array(shape) / 2 + random.uniform(-1.5, 1.5, 3)
    points = np.indices(shape).transpose(1, 2, 3, 0) - centre
    inside = np.linalg.norm(points, axis=-1) < random.uniform(3.5, 5)
    labels = inside.astype(np.uint8) + (inside & (points[..., 1] > 0))
    image = 100 + 60 * labels + random.normal(0, 8, shape)
    return image.astype(np.float32), labels.astype(np.uint8)


def write_dataset(folder, count=4, *, labels_dtype=np.uint8):
    """Write `count` cases in the layout of the Medical Segmentation Decathlon."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for seed in range(count):
        image, labels = ball(seed)
        for name, array in (("imagesTr", image), ("labelsTr", labels.astype(labels_dtype))):
            nibabel.save(nibabel.Nifti1Image(array, AFFINE), folder / name / f"ball_{seed}.nii.gz")
    listed = [
        {"image": f"./imagesTr/ball_{n}.nii.gz", "label": f"./labelsTr/ball_{n}.nii.gz"}
        for n in range(count)
    ]
    table = {"0": "background", "1": "Back", "2": "Front"}
    content = {"name": "Balls", "labels": table, "training": listed}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder
