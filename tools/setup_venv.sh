#!/usr/bin/env bash
# Make the virtual environment $1 and install the pinned stack and this package (editable) into it.
# $2: the file of pins: constraints.txt; constraints-torch-2.12.txt, the same with an older PyTorch; or
# constraints-openmmlab.txt, the last releases of OpenMMLab itself (Python 3.11).
set -eu
venv=$1
constraints=${2:-constraints.txt}
cd "$(dirname "$0")/.."

fail() { echo "nepa_mm: error: $*" >&2; exit 1; }
case $constraints in
    constraints.txt | constraints-torch-2.12.txt) hosts=mm,detection;;
    constraints-openmmlab.txt) hosts=openmmlab;;
    *) fail "no file of pins | '$constraints' | choose constraints.txt, constraints-torch-2.12.txt or constraints-openmmlab.txt";;
esac

python="" candidates=${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}
for candidate in $candidates; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "no Python 3.10 to 3.13 ($(python3 --version 2>&1 | head -n 1))" \
    "| PYTHON='$candidates' | install one or name it: make PYTHON=/path/to/python3.11"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "no venv module | $python | install it (Debian, Ubuntu: apt install python3-venv) or set PYTHON"
parent=$(dirname "$venv")
mkdir -p "$parent" 2>/dev/null || fail "no folder for the virtual environment can be made | $parent | set VENV to another place"
free=$(df -Pk "$parent" | awk 'NR == 2 {print int($4 / 1048576)}')
[ -e "$venv/.installed" ] || [ "$free" -ge 7 ] ||
    fail "$free GB free, 7 GB needed for $venv (torch with CUDA) | $parent | free some space or set VENV=/path/on/another/disk"

pins=$constraints
if [ "$constraints" = constraints-torch-2.12.txt ]; then  # it names what differs
    pins=$(mktemp)
    trap 'rm -f "$pins"' EXIT
    grep -vE '^torch(vision)?==' constraints.txt | cat - "$constraints" > "$pins"
fi

[ -x "$venv/bin/pip" ] || "$python" -m venv "$venv" || fail "no virtual environment can be made | $venv | see what Python says above"
echo "Installing the tested versions ($constraints) into $venv: about 3 GB to download"
if [ $hosts = openmmlab ]; then
    # mmsegmentation 1.2.2 needs mmcv's operators. There is no built mmcv for this torch; its setup.py needs torch and pkg_resources.
    echo "Compiling mmcv's operators, which needs a C++ compiler and takes from minutes to an hour"
    "$venv/bin/python" -m pip install -c "$pins" torch torchvision numpy setuptools wheel ninja &&
        PATH="$(cd "$venv/bin" && pwd):$PATH" "$venv/bin/python" -m pip install --no-build-isolation -c "$pins" mmcv ||
        fail "mmcv was not installed, see pip's message above | $venv | check network, disk and g++, then run the command again"
fi
"$venv/bin/python" -m pip install --progress-bar on -c "$pins" -e ".[$hosts,test]" ||
    fail "something was not installed, see pip's message above | $venv | check network and disk, then run the command again"
touch "$venv/.installed"
