"""Chorales: tokens, data, grammar, scores, and the product `Composer`."""
