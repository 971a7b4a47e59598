"""A synthetic demo shot with a known truth."""
