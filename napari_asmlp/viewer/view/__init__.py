"""How the image and the labels look: window and level, overlay, planes, and the keys for it."""
