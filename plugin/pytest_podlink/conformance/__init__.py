"""The proof: every operation, on any Redis, does what the contract of linked pods says.

    pytest --pyargs pytest_podlink.conformance --stateful-backend redis://host:port

`model` is the contract in plain Python, `machine` makes random histories of operations, foreign
writers, faults and passing time, and compares every store with the model after every step. The
contract is the semantics page of the documentation.
"""
