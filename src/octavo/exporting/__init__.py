"""A checkpoint -> float graphs, proved against torch."""
