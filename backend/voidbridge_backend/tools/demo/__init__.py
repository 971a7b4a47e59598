"""The demo shot with known truth."""
