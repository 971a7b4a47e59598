"""The networks, and how they run on a device."""
