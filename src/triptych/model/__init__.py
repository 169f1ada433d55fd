"""Floor 2: the Transformer, its parts and its cache."""
