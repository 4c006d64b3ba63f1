"""Databases: keys, expiry, keyspace events, snapshots, memory, eviction."""
