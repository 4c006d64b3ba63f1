"""Clients of a server: sessions, ACL, blocked clients, pub/sub, WATCH, client-side caching."""
