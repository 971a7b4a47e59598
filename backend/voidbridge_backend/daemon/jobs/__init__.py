"""Jobs: accepting, scheduling and storing them."""
