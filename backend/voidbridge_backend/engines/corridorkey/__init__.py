"""CorridorKey: a trained network that unmixes a green screen. Its weights are a user's own."""
