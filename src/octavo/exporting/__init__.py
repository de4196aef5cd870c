"""TODO-DOC room exporting."""
