"""The messages, their encoding, and one connection that carries them."""
