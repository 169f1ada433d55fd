"""Floor 1, without torch: what generation remembers, and what an input reads at each step."""
