"""Rules that find the areas that an object changes: its shadow, its reflection and its contact. No weights."""
