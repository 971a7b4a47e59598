"""Where the pixels of one frame lie in another."""
