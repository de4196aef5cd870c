"""Results as tables, notes, pages and cards. Rows become cells here; `cli` draws them on a terminal."""
