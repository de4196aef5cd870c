"""TODO-DOC room pipeline."""
