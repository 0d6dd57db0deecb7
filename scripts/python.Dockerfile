# Debian 13's Python, 3.13, for the tests that start no servers: see scripts/versions.sh.
FROM debian:trixie-slim
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv procps \
    && rm -rf /var/lib/apt/lists/*
