# Sourced by ./dev: the tests on other versions than the installed MariaDB and Python, for `./dev test --all`.
# Needs `say`, VENV, the container engine and the images.

test_other_versions() {
    unset TRIO_HS_TEST_EVERYTHING # all examples have been tried, on the installed versions
    test_server_11_8
    test_python_3_13
    say "testing with the lowest versions that are declared"
    ./dev test --lowest
}

# What real servers answer and do, to the client and in three drills.
test_server_11_8() {
    say "testing on MariaDB 11.8, in containers"
    "$VENV/bin/python" -m pytest --server-version 11.8 -m "mariadb and not docker" \
        --numprocesses 2 --dist loadfile tests/trio_hs
    "$VENV/bin/hs-drill" drills --cluster docker --server-version 11.8 reader-failover planned-restart writer-kill-semisync
}

# The tests that start no MariaDB, with Debian 13's Python. Its packages are downloaded here, where pip is configured; they are
# those of the virtual environment, but for mysqlclient, which has no wheels. The container gets all files from standard input.
# The harness is imported from the sources: the installed one is for its entry points.
test_python_3_13() {
    say "testing on Python 3.13, in a container"
    docker build --quiet --tag trio-hs/python:3.13 - <scripts/python.Dockerfile >/dev/null
    files=$(mktemp -d)
    "$VENV/bin/python" -m pip freeze --exclude-editable --exclude mysqlclient >"$files/requirements"
    "$VENV/bin/python" -m pip download --quiet --no-deps --only-binary :all: --python-version 3.13 \
        --dest "$files/wheels" --requirement "$files/requirements"
    "$VENV/bin/python" -m pip wheel --quiet --no-deps --wheel-dir "$files/wheels" . ./loadtest
    failed=''
    tar --create --exclude=./.git --exclude="./$VENV*" --exclude=./build --exclude=./runs . --directory "$files" wheels |
        docker run --rm --init --interactive trio-hs/python:3.13 sh -euc '
            mkdir /src && cd /src && tar --extract
            python3 -m venv /venv
            /venv/bin/pip install --quiet --no-index --no-deps wheels/*.whl
            export PYTHONPATH=/src/loadtest
            exec /venv/bin/python -m pytest -m "not mariadb and not docker" --numprocesses 2 --dist loadfile' || failed=1
    rm -rf "$files"
    [ -z "$failed" ]
}
