"""Generation from anything that makes one step: sampling (an iterator of token columns) and beam search."""
