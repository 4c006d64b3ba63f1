"""State of a server: configuration, conditions, statistics, logs, replication, faults."""
