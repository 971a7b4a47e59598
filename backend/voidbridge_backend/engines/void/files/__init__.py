"""The files of a models folder, and the networks that they describe."""
