"""Jobs for a render farm, as Open Job Description."""
