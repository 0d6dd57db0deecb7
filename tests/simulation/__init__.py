"""Simulated failovers in virtual time: servers that fail, tasks that use them through the real client, and a judge.

The modules in reading order: topology, model, network, cluster, faults, workload, invariants, runner, fleet. docs/simulation.md
says what is simulated, what must hold, and how to replay a failing seed.
"""
