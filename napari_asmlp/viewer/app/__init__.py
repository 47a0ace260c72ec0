"""The workspace: one dock with all tools, one page at a time."""
