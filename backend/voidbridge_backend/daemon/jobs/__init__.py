"""Jobs: what was accepted, what runs next, what the table holds."""
