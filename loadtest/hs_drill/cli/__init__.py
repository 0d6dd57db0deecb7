"""The commands of `hs-drill`, a module each: check, analyze, compare, drills, cluster, schema, locustfile."""
