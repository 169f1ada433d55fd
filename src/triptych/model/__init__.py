"""Floor 1: the Transformer, its configuration, its cache and its form on disk."""
