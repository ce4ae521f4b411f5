"""Uses of a trained model: what goes in, what comes out."""
