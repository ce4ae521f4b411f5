"""What is learned: masks, losses, accuracies, each a sum and a weight."""
