"""TODO-DOC room checkpoint."""
