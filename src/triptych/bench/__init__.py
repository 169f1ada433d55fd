"""Floor 3: how fast, how large. Contestants side by side in one run, reports as data."""
