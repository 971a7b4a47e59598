"""One job from files to files."""
