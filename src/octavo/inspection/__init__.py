"""TODO-DOC room inspection."""
