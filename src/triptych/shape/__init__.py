"""Floor 0, without torch: what a model is made of, and how it lies on the disk."""
