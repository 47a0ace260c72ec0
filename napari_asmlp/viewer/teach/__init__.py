"""Teaching in the window: classes are painted, taught and corrected, round after round."""
