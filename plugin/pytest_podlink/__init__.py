"""pytest plugin that runs a test on the Redis emulator and on real servers.

pytest imports this package in every run, through its entry point, so it imports nothing itself.
"""
