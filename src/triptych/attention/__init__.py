"""Floor 0: what may look at what, and how it is computed. Pure functions, no parameters, no state."""
