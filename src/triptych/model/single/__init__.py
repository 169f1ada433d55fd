"""Floor 2: the steps of one sequence alone, in fewer calls."""
