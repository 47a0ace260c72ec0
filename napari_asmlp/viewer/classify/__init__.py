"""The Mixer panel: classes of volumes and objects, by a model or taught by example."""
