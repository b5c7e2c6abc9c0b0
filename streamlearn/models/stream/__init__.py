"""What a model does with its stream around the learner: schedules, drift, freezing, labels and keys."""
