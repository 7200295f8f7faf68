"""Benchmarks: ours and the peers side by side in one run. ``python -m bench`` prints the table."""
