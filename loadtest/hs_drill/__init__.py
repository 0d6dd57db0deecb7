"""A harness that rehearses the failover of MariaDB servers under load, behind Locust's command line and web UI.

A *scenario* (a YAML file) says which servers to start, what load to put on them, which *faults* strike when, and what to
expect. A run takes three kinds of processes:

- ``in_locust``: Locust's own, alone, master or worker. gevent has patched it, so nothing here imports trio.
- ``engine``: one beside each Locust process that carries load; a trio task per user.
- ``controller``: one; it starts the *servers*, lets the *nemesis* inject faults into them, and judges the run.

Each engine writes a *history* of every operation. When the load has ended and everything has healed, the controller reads the
servers back; the *audit* compares that with the histories, the *verdict* compares both with what the scenario expects, and the
*report* shows the result. All of it is kept in the *store*, so that ``hs-drill analyze`` can judge it again.

Imports go down only: pyproject.toml has the layers. Files begin with an underscore because Locust loads all others.
"""
