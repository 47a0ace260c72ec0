"""Learning a segmentation from labelled volumes: data, augmentation, loss, and the loop."""
