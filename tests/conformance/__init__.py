"""Tests of the conformance kit: its model, its state machine and its linearizability checker."""
