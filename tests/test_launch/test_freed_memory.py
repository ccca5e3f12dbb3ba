import os
import platform
import subprocess
import sys

import pytest

# A step that holds twenty blocks of 4 MiB at once, which are 20,480 pages, and frees them; the tenth reads how many it mapped.
STEPS = """
import resource
from nepa_mm.launch.freed_memory import keep_freed_memory
keep_freed_memory()
for _ in range(10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [b'.' * (4 << 20) for _ in range(20)]
    del blocks
    mapped = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(mapped)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='a setting of glibc')
@pytest.mark.parametrize('own, kept', [({}, True), (dict(MALLOC_TOP_PAD_='131072'), False)])
def test_a_step_uses_the_pages_of_the_last_one_unless_the_user_has_set_malloc(own, kept):
    env = {name: value for name, value in os.environ.items() if not name.startswith(('MALLOC_', 'GLIBC_TUNABLES', 'LD_PRELOAD'))}
    result = subprocess.run([sys.executable, '-c', STEPS], env={**env, **own}, check=True, capture_output=True, text=True)
    assert (int(result.stdout) < 100) == kept, result.stdout
