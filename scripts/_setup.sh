# Sourced by the scripts beside it: makes .venv and installs the pinned packages, but only when something has changed.
# It needs Python 3.11 to 3.13 and nothing else; uv is used when it is on the PATH, because it is faster.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="$root/.venv"

fail() {
    echo "flash: $*" >&2
    exit 1
}

# The first interpreter that is new enough and not too new: trio-asyncio does not import on 3.14.
find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3 python; do
        if "$name" -I -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.11, 3.12 or 3.13 is needed and none is on the PATH: install one"
}

# What the environment was made from. Another interpreter, other pins or a moved project make it anew.
fingerprint() {
    local hash
    hash="$(cksum <"$root/$1")"
    echo "$1 $hash $root $(readlink "$venv/bin/python" 2>/dev/null || echo none)"
}

# ensure_venv REQUIREMENTS: the stamp is written last, so an interrupted installation is done again.
# The development environment holds all that the service needs, so `scripts/run` is content with it too.
ensure_venv() {
    local requirements="$1" known
    for known in "$requirements" requirements-dev.txt; do
        if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/stamp" 2>/dev/null)" = "$(fingerprint "$known")" ]; then
            return
        fi
    done
    make_venv "$requirements"
}

# uv brings certificates and a cache of its own, which may not suit this machine: then pip does it.
install_with_uv() {
    UV_SYSTEM_CERTS=1 uv venv --quiet --no-project --python "$1" "$venv" &&
        UV_SYSTEM_CERTS=1 uv pip install --quiet --no-config --python "$venv/bin/python" --only-binary :all: \
            --require-hashes -r "$root/$2" && return
    echo "flash: uv could not install the packages (the reason is above), trying pip" >&2
    return 1
}

make_venv() {
    local requirements="$1" python
    python="$(find_python)"
    echo "flash: installing into $venv (only this once)" >&2
    rm -rf "$venv"
    if ! { command -v uv >/dev/null && install_with_uv "$python" "$requirements"; }; then
        rm -rf "$venv"
        "$python" -m venv "$venv" || fail "$python cannot make a virtual environment: install its venv module"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: --require-hashes -r "$root/$requirements" ||
            fail "the pinned packages could not be installed (the reason is above)"
    fi
    # The package itself is not built, since a build would fetch its tools unpinned: a path file lets Python find it.
    echo "$root" >"$("$venv/bin/python" -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/flash-project.pth"
    "$venv/bin/python" -m compileall -q "$root/flash" || true
    fingerprint "$requirements" >"$venv/stamp"
}
