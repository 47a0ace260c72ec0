"""The napari side: the only room that imports napari, Qt and magicgui."""
