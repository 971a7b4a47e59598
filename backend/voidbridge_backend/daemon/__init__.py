"""The daemon: accepts jobs and files, runs jobs on workers, serves results. `serve` is the entry point."""
