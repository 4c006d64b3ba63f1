"""Helpers that several test modules use: pairs of emulator and server, clients, processes."""
