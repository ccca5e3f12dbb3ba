"""What the doctor finds."""
import re
from dataclasses import dataclass

OK = 'ok'
ABSENT = 'absent'  # optional, and not there
WARNING = 'warning'  # works, but not well; or optional, and fails
PROBLEM = 'problem'  # needed, and fails
UNTRIED = 'untried'  # something else fails that it needs


@dataclass
class Finding:
    group: str
    name: str
    status: str
    found: str
    fix: str = ''  # one line, for whoever wants it to be ok

    def __post_init__(self) -> None:
        self.found, self.fix = ' '.join(self.found.split()), ' '.join(self.fix.split())


class Absent(Exception):
    """Something optional is not there. Arguments: what was found, and how to get it."""


class Unfit(Exception):
    """Something fails for a known reason. Arguments: what was found, and what to do about it."""


def release(version: str) -> tuple[int, ...]:
    """Numbers of a version: (2, 12, 1) of '2.12.1+cu130', (2, 0, 0) of '2.0.0rc4'."""
    found = re.match(r'\d+(\.\d+)*', version)
    return tuple(map(int, found[0].split('.'))) if found else ()
