"""What is inside a model, and what this machine has; nothing is run."""
