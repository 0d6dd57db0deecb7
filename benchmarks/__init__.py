"""Benchmarks of the client and of the harness: `./dev bench NAME` runs one."""
