"""Floor 2: the layers of the Transformer and what is in them."""
