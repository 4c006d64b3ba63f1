"""Redis Cluster: nodes, topology, slots and slot migration, all in one process."""
