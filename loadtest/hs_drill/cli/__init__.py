"""The commands: `hs-drill check, analyze, compare, drills, cluster, schema`."""
