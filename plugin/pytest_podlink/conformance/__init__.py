"""The conformance kit: tests whether podlink on any Redis follows the contract of linked pods.

    pytest --pyargs pytest_podlink.conformance --stateful-backend redis://host:port

`model` is the contract in plain Python. `machine` generates random histories of operations, writes
of other programs, malformed values and passing time, and compares every store with the model after
every step. The contract is the semantics page of the documentation.
"""
