"""How good, how faithful and how fast: measured side by side."""
