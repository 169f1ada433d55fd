"""Floor 4: figures and pictures of what a model attends to, and of what attention costs."""
