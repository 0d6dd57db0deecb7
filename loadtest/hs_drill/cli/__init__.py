"""The commands of `hs-drill`, a module each: check, analyze, compare, baseline, drills, cluster, schema, locustfile."""
