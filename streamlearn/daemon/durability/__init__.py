"""From accepted records to durable ones: group commit, watermarks and checkpoints."""
