"""Pieces of music without files or models: notes, bars, metre, key, instruments, tunes."""
