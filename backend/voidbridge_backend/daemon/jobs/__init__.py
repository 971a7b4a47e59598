"""Jobs: accepted, scheduled, and followed to their end."""
