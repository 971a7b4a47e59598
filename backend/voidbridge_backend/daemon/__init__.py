"""The daemon: takes jobs and files in, has them worked on, gives results out. `serve` is its door."""
