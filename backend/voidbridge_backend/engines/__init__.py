"""The engines, which do the work of jobs: a folder for each. `registry` finds them."""
