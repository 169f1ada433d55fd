"""What inputs, heads, positions and relations compute at a step: the torch-free halves of `triptych.model`."""
