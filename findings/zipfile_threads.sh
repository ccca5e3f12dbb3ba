#!/usr/bin/env bash
# Python's zipfile: threads that read from one ZipFile read parts of each other, and say "Bad CRC-32" of a good file
#
# Versions: Python 3.12.1 and 3.13.0 (3.10.13 and 3.11.7 read all as it was written). No package.
# Input: a stored zip file of 240 parts whose headers have extra fields, as torch.save pads them; four threads read different parts
#   from one ZipFile, which has a lock for that.
# Behaviour: ZipFile.open passes over the extra field by a seek relative to where the shared file is, which another thread may have
#   moved since; before 3.12 it read the field.
# Seen: of 72,000 parts some dozens raise BadZipFile (Bad CRC-32); with a ZipFile for each thread none does.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.12}" - <<'EOF'
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial

assert sys.version_info >= (3, 12), 'set PYTHON to a Python 3.12 or 3.13'
sys.setswitchinterval(1e-5)  # threads take turns more often than by default
with zipfile.ZipFile('parts.zip', 'w') as archive:
    for number in range(240):
        entry = zipfile.ZipInfo(f'part/{number}')
        entry.extra = b'FB' + (40).to_bytes(2, 'little') + b'Z' * 40
        archive.writestr(entry, bytes([number]) * 100)


def wrong(entries, archive=None):
    """How many parts cannot be read, from one archive of all threads or from one's own."""
    with zipfile.ZipFile('parts.zip') as own:
        count = 0
        for entry in entries:
            try:
                (archive or own).read(entry)
            except zipfile.BadZipFile:
                count += 1
        return count


shared, apart = 0, 0
with ThreadPoolExecutor(4) as pool:
    for _ in range(300):
        with zipfile.ZipFile('parts.zip') as archive:
            names = archive.namelist()
            parts = [names[first::4] for first in range(4)]
            shared += sum(pool.map(partial(wrong, archive=archive), parts))
        apart += sum(pool.map(wrong, parts))
print(f'Python {sys.version.split()[0]}: wrong of 72000 parts: {shared} by one ZipFile, {apart} by one for each thread')
assert shared > 0 and apart == 0, 'the behaviour has changed'
EOF
