"""What Voidbridge's client and daemon say to each other. Standard library and pyzmq only."""
