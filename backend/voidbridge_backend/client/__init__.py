"""A job from the side of the client: its files, its daemon, its progress and its results."""
