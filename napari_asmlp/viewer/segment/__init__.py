"""The Segment panel: choose an image and a model, run, watch the labels appear."""
