"""The command line. No other room imports typer or rich."""
