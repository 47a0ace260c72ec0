"""Writing labels to files: what is wished for, what will be written, and the dialog."""
