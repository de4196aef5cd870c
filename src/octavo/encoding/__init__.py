"""TODO-DOC room encoding."""
