"""The options of each command. A module is imported only for a command of its own."""
