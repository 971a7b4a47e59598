"""Image operations: arrays in, arrays out."""
