"""The memory budget of the process."""
