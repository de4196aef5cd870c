"""Models opened on an engine, and what they answer."""
