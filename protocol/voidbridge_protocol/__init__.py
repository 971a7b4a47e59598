"""Wire protocol of Voidbridge: messages, errors and the client. Depends on the standard library and pyzmq only."""

__version__ = "0.1.0"
"""Version of the Voidbridge release. The wire protocol has its own version, `messages.PROTOCOL`."""
