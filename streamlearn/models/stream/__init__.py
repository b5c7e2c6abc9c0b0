"""Processing of the stream that all models share: schedules, drift, freezing and keys."""
