"""A checkpoint and a recipe -> an artifact: plan, read, export, apply the method, write."""
