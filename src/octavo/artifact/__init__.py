"""TODO-DOC room artifact."""
