"""Rewrites of a float graph that leave what it computes as it is."""
