"""Tools around a whole emulator: keys as Python values, a text dump, copying from a server."""
