"""The Edit labels panel: segments, painting and tools."""
