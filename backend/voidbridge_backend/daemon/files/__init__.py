"""Files on their way: received, imported, handed out; and the room that they take."""
