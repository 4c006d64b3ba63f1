"""Tests of podlink on a cluster, with Sentinel, TLS and ACL users, with real processes: `make
topologies`.
"""
