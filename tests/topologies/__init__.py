"""podlink on every way to run Redis, each with real processes: `make topologies`."""
