"""Jobs of render farms that take command lines: Deadline, OpenCue and Tractor."""
