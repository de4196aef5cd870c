"""TODO-DOC room schema."""
