"""The command `dataset`: pairs for a training, from the clips of a show."""
