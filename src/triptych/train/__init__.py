"""Floor 2: one recipe, one training loop for every panel."""
