"""What the server knows of its clients: sessions, ACL users, client-side caching."""
