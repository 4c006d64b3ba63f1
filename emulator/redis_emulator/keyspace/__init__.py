"""Databases: keys, expiry, events, snapshots, memory, eviction."""
