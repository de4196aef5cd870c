"""What was found, as people read it. Rows become cells here; drawing a terminal's tables is the command line's."""
