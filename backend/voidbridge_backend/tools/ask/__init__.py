"""Asks a vision language model which areas an object affects. Off until an endpoint is named."""
