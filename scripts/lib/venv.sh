# Sourced by the scripts beside it, from the top of the checkout: makes .venv from the lock file if it is not
# there or if the lock changed. Sets VENV. Needs Python >= 3.11 with its venv module, and pip's registry.

VENV=.venv

ensure_venv() {
    local python=${PYTHON:-python3} stamp
    stamp=$(cat scripts/requirements.lock pyproject.toml | cksum)
    if [ "$(cat "$VENV/.stamp" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "Python 3.11 or newer is needed; $("$python" --version 2>&1) is what '$python' is. Set PYTHON." >&2
        return 1
    fi
    echo "==> making $VENV with the locked dependencies (about a minute, once)"
    if ! "$python" -m venv --clear "$VENV"; then
        echo "'$python -m venv' failed. On Debian: apt-get install python3-venv" >&2
        return 1
    fi
    "$VENV/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r scripts/requirements.lock
    "$VENV/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    printf '%s' "$stamp" >"$VENV/.stamp"
}
