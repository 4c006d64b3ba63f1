"""RESP, the Redis serialization protocol: reply types, encoder and decoder. Knows no command."""
