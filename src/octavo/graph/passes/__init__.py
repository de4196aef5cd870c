"""TODO-DOC room passes."""
