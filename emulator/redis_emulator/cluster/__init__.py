"""A Redis Cluster in one process: nodes, topology, slot migration."""
