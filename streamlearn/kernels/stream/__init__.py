"""Processing of the stream that all learners share: scaling, score, drift, schedules, labels and keys."""
