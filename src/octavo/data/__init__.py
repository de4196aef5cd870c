"""TODO-DOC room data."""
