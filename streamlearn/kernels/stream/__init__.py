"""What happens to a stream around every learner: scaling, score, drift, schedules, labels and keys."""
