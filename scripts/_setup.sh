# Sourced by the scripts beside it: makes a virtual environment with the pinned packages, but only when something changed.
# It needs Python 3.11 to 3.13 with the venv module and nothing else. uv is used when it is on the PATH: it is faster.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="$root/.venv"
python="" # the interpreter of the environment; empty for the first that fits

say() {
    echo "flash: $*" >&2
}

fail() {
    say "$*"
    exit 1
}

# use_python VERSION: work with this interpreter in an environment of its own, .venvs/VERSION.
use_python() {
    python="$(find_python "$1")"
    [ -n "$python" ] || fail "Python $1 is not on this machine, or lacks its venv module"
    venv="$root/.venvs/$1"
}

# ensure_venv REQUIREMENTS: the development environment holds all that the service needs, so every script accepts it.
ensure_venv() {
    local requirements="$1" known
    for known in "$requirements" requirements-dev.txt; do
        if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/stamp" 2>/dev/null)" = "$(fingerprint "$known")" ]; then
            [ -x "$venv/bin/flash" ] || link_project
            return
        fi
    done
    make_venv "$requirements"
}

# What the environment was made from. Another interpreter, other pins or a moved project make it anew.
fingerprint() {
    local hash
    hash="$(cksum <"$root/$1")"
    echo "$1 $hash $root $(readlink "$venv/bin/python" 2>/dev/null || echo none)"
}

# Whether a whole environment of this interpreter is there. Then packages are added to it: `scripts/run` may be using it.
is_whole() {
    [ -x "$venv/bin/python" ] || return 1
    case "$(cat "$venv/stamp" 2>/dev/null)" in
        *" $root $(readlink "$venv/bin/python")") return 0 ;;
        *) return 1 ;;
    esac
}

# The stamp is written last, so an interrupted installation starts again next time.
make_venv() {
    local requirements="$1" is_kept=""
    python="${python:-$(find_python 3.13 3.12 3.11)}"
    [ -n "$python" ] || fail "Python 3.11, 3.12 or 3.13 with its venv module is needed and not found: install one"
    trap interrupted INT TERM HUP
    if is_whole; then
        is_kept=yes
        rm -f "$venv/stamp"
    else
        rm -rf "$venv" || fail "$venv cannot be replaced: remove it, as its owner"
    fi
    command -v uv >/dev/null && with_uv "$requirements" || with_pip "$requirements"
    link_project
    during "compiling the project" "$venv/bin/python" -m compileall -q "$root/flash" || true # or when first imported
    fingerprint "$requirements" >"$venv/stamp"
    trap - INT TERM HUP
    say "ready: $venv/bin/flash"
}

# find_python VERSION...: the path of the first such interpreter that really runs and can make environments, or nothing.
# The PATH comes first; a version that pyenv has but has not activated is found where pyenv keeps it.
find_python() {
    local version candidate
    for version in "$@"; do
        for candidate in "python$version" python3 python; do
            path_of "$candidate" "$version" && return
        done
    done
    for version in "$@"; do
        for candidate in "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$version".*/bin/python; do
            path_of "$candidate" "$version" && return
        done
    done
    return 0 # nothing printed: there is none
}

path_of() {
    "$1" -I - "$2" 2>/dev/null <<'EOF'
import ensurepip, sys, venv
if sys.argv[1] != "%d.%d" % sys.version_info[:2]:
    sys.exit(1)
print(sys.executable)
EOF
}

with_pip() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || is_kept=""
    [ -n "$is_kept" ] || during "making $venv with $python" "$python" -m venv --clear "$venv" ||
        fail "$python could not make an environment (the reason is above)"
    during "installing $(count "$1") packages of $1" \
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: \
        --require-hashes -r "$root/$1" || fail "the pinned packages could not be installed (the reason is above)"
}

# uv brings certificates and a cache of its own, which may not suit this machine. Then pip does it.
with_uv() {
    export UV_SYSTEM_CERTS=1
    { [ -n "$is_kept" ] || during "making $venv with $python, by uv" \
        uv venv --quiet --no-project --python "$python" "$venv"; } &&
        during "installing $(count "$1") packages of $1" \
            uv pip install --quiet --no-config --python "$venv/bin/python" --only-binary :all: \
            --require-hashes -r "$root/$1" && return
    say "uv could not install the packages (the reason is above), trying pip"
    return 1
}

count() {
    grep -c '^[a-z].*==' "$root/$1"
}

# The package itself is not built, since that would fetch the build's tools unpinned. A path file lets Python find it, and
# bin/flash is what an installer would write: a line of sh that is also Python, since a `#!` line cannot hold blanks.
link_project() {
    "$venv/bin/python" -I - "$root" "$venv/bin/flash" <<'EOF'
import shlex, sys, sysconfig
from pathlib import Path

root, command = sys.argv[1:]
Path(sysconfig.get_path("purelib"), "flash-project.pth").write_text(root + "\n")
Path(command).write_text(f"""#!/bin/sh
'''exec' {shlex.quote(sys.executable)} "$0" "$@"
' '''
import sys
from flash.cli import main
sys.exit(main())
""")
Path(command).chmod(0o755)
EOF
}

# during TEXT COMMAND…: says what is done. Somebody who watches sees the seconds pass, and at the end how many they were.
during() {
    local text="$1" began="$SECONDS" code=0
    shift
    say "$text"
    if [ -t 2 ] && [ "$((${#text} + 20))" -lt "$(tput cols 2>/dev/null || echo 80)" ]; then
        complaints="$(mktemp)"
        start_counting "$text" "$began"
        interruptible "$@" || code=$?
        stop_counting "$text" "$began"
        cat "$complaints" >&2
        rm -f "$complaints"
        complaints=""
    else
        interruptible "$@" || code=$?
    fi
    return "$code"
}

counter="" # the process that counts the seconds, and leads a process group
complaints="" # the file that holds back what a command says while the seconds are counted

start_counting() {
    set -m
    while sleep 1; do write_seconds "$@"; done &
    counter=$!
    set +m
}

# The line of what took less than a second stays as it is.
stop_counting() {
    kill -TERM -- "-$counter" 2>/dev/null || true
    wait "$counter" 2>/dev/null || true
    counter=""
    [ "$SECONDS" -eq "$2" ] || write_seconds "$@"
}

# Over the line above. What the command says meanwhile is held back, or it would be written over.
write_seconds() {
    printf '\033[A\r\033[Kflash: %s (%d s)\n' "$1" "$((SECONDS - $2))" >&2
}

# A child in a process group of its own does not see Ctrl-C: we do, and end it without a traceback.
interruptible() {
    set -m
    if [ -n "$complaints" ]; then
        "$@" </dev/null >"$complaints" 2>&1 &
    else
        "$@" </dev/null &
    fi
    child=$!
    set +m
    wait "$child"
}

interrupted() {
    trap - INT TERM HUP
    [ -z "$counter" ] || kill -TERM -- "-$counter" 2>/dev/null || true
    [ -z "$complaints" ] || rm -f "$complaints"
    kill -TERM -- "-$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
    say "the installation was interrupted; it starts again next time"
    exit 130
}
