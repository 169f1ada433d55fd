"""Speed and memory of Triptych beside other forms, packages and commits: what `benchmarks/run.py` measures."""
