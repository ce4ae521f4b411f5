"""State, step, loop, checkpoints: where model, data and optimizer meet."""
