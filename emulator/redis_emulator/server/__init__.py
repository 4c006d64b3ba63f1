"""The server's own state: configuration, logs, replication, faults."""
