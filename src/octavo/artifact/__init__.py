"""The folder that Octavo writes: what is in it, how it is written, where it may run, how it is checked."""
