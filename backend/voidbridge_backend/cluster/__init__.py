"""Workers on other machines, by Ray. The daemon never imports Ray: its child processes in this folder do."""
