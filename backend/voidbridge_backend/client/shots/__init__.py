"""Lists of shots for `generate`: tables and timelines in, takes and a timeline out."""
