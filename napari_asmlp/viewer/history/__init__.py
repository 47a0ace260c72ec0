"""Undo in one history for all tools, and an autosave that outlives the process."""
