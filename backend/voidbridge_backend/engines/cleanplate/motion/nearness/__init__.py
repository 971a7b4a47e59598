"""The nearness of a target's pixels: where its sources agree."""
