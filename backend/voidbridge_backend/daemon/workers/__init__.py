"""Worker processes: started, watched, restarted."""
