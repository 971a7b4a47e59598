"""A scripted daemon, for tests of clients."""
