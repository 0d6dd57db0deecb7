"""The process that carries the load: `python -m hs_drill.engine FD`."""
