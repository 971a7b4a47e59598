"""What does the work of a job: a folder for each engine. `registry` finds them."""
