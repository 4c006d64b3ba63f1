"""RESP, the Redis serialization protocol: reply types, encoder and decoder.

These modules do not depend on commands.
"""
