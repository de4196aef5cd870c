"""TODO-DOC room metrics."""
