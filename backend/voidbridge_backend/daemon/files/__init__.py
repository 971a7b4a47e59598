"""Files of the spool: received, imported, kept, cleaned up."""
