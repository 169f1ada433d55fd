"""The guarded process that parses files which nobody knows, and what it answers."""
