"""Chaos tests: load on real topologies while faults are injected. Run them with `make chaos`."""
