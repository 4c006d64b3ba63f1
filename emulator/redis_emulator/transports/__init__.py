"""Ways in: connection classes for redis-py that skip sockets and encoding."""
