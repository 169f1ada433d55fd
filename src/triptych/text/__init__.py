"""Floor 3 and 4: words. Codec (text <-> ids), data (files -> batches), score (is it good?) and the translator."""
