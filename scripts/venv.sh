# Sourced by ./dev: the virtual environment. Needs `say`, `die`, `have_apt`, `apt_install`.
VENV=.venv
CONSTRAINTS=constraints.txt

find_python() {
    for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# The pip arguments for each part of the set-up: the client (.) and the harness (./loadtest), with their extras.
parts() {
    case $1 in
        drill) echo "--editable .[testing] --editable ./loadtest" ;;
        test) echo "--editable .[test] --editable ./loadtest[metrics]" ;;
        sql | bench) echo "--editable . --editable ./loadtest[$1]" ;;
        docs | testing) echo "--editable .[$1]" ;;
    esac
}

# setup_venv PART...: create .venv and install these parts; quick when nothing has changed since the last time.
setup_venv() {
    python=$(find_python) || die "needs Python 3.11 or newer as python3, or named by PYTHON="
    stamp=$(cat pyproject.toml loadtest/pyproject.toml "$CONSTRAINTS" | cksum)
    if [ ! -x "$VENV/bin/python" ]; then
        say "creating $VENV with $("$python" --version)"
        if ! "$python" -m venv "$VENV" >/dev/null 2>&1; then
            rm -rf "$VENV"
            have_apt || die "$python cannot create a virtual environment; install it (Debian: apt-get install python3-venv)"
            apt_install python3-venv || die "apt-get could not install python3-venv"
            "$python" -m venv "$VENV"
        fi
    fi
    missing='' arguments=''
    for part in "$@"; do
        if [ "$(cat "$VENV/.set-up-$part" 2>/dev/null)" != "$stamp" ]; then
            missing="$missing $part" arguments="$arguments $(parts "$part")"
        fi
    done
    [ -n "$missing" ] || return 0
    say "installing what is needed for:$missing"
    # shellcheck disable=SC2086 # several words
    "$VENV/bin/python" -m pip --quiet --disable-pip-version-check install --constraint "$CONSTRAINTS" $arguments ||
        die "pip could not install what is needed for:$missing"
    for part in $missing; do echo "$stamp" >"$VENV/.set-up-$part"; done
}
