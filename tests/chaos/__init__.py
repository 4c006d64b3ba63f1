"""Chaos: load on real topologies while faults are injected. Run it with `make chaos`."""
