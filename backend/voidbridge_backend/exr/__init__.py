"""OpenEXR in and out without touching what is kept."""
