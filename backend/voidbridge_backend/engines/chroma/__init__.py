"""The engine `chroma`: a keyer for green and blue screens that needs no weights."""
