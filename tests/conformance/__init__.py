"""Tests of the conformance kit: the model follows the contract, and errors are found."""
