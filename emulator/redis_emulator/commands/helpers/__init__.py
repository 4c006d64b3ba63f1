"""Functions that several command modules share. No module here registers a command."""
