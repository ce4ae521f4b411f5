"""What a run tells: terminal, metrics file, event files, status. Files only, no JAX."""
