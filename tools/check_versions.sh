#!/usr/bin/env bash
# Runs the quick tests (or what is given) on every Python that the package supports, and with the lowest versions that setup.cfg allows.
#   tools/check_versions.sh                      # pytest -m "not training"
#   tools/check_versions.sh -m training          # other arguments of pytest
# Needs python3.11, python3.12 and python3.13 on the PATH; environments are made in a temporary folder.
set -uo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ $# -gt 0 ] || set -- -m "not training"
for version in 3.11 3.12 3.13; do
    "python$version" -c "" || { echo "python$version must be on the PATH and start" >&2; exit 2; }
done

# One constraint for each ">=" of the dependencies and of the extras that the tests need.
lowest() {
    python3.11 - <<'PY'
import configparser
import re

config = configparser.ConfigParser()
config.read("setup.cfg")
texts = [config["options"]["install_requires"], *(config["options.extras_require"][name] for name in ("video", "edge", "cluster"))]
for line in "\n".join(texts).splitlines():
    if found := re.fullmatch(r"([\w.-]+)>=([\w.]+)", line.strip()):
        print(f"{found[1]}=={found[2]}.*" if found[2].count(".") < 2 else f"{found[1]}=={found[2]}")
PY
}

try() {
    local name=$1 python=$2
    shift 2
    {
        "$python" -m venv "$work/$name" && source "$work/$name/bin/activate" &&
            python -m pip install --quiet --disable-pip-version-check -e ".[video,edge,test]" "${constraints[@]}" &&
            python -m pytest "$@"
    } > "$work/$name.log" 2>&1
    local status=$?
    deactivate 2> /dev/null
    echo "$name: exit status $status; $(grep -E '^[0-9]+ (passed|failed)|error' "$work/$name.log" | tail -n 1)"
    [ "$status" = 0 ] || { tail -n 40 "$work/$name.log"; failed=1; }
}

failed=0
constraints=()
for version in 3.11 3.12 3.13; do
    try "python$version" "python$version" "$@"
done
lowest > "$work/lowest.txt"
constraints=(--constraint "$work/lowest.txt")
try lowest python3.11 "$@"
exit "$failed"
