"""pytest plugin: one test, run on the Redis emulator and on real servers alike.

Loaded by its entry point in every pytest run, so nothing is imported here.
"""
