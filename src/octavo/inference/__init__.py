"""TODO-DOC room inference."""
