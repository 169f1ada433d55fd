"""The guarded process that parses untrusted files, and its answer."""
