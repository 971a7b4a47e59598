"""The spool and the job table: everything that outlives the daemon, on its disk."""
