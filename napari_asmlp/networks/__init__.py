"""The networks: plain torch modules that know nothing of files, grids or viewers."""
