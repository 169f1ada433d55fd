"""Floor 3: the folder of a run, and all that is in it."""
