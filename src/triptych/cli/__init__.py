"""Floor 5: the command `triptych`. One module a verb; nothing imports this package."""
