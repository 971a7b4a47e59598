"""A training from the side of the client: the file of the show, the list of its pairs, the job."""
