"""What several test modules use: emulator and server pairs, clients, processes. No tests."""
