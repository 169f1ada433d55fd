"""The commands of `triptych`, a file a verb."""
