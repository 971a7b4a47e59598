"""The page: one more client of the daemon, served to the browsers of this machine only."""
