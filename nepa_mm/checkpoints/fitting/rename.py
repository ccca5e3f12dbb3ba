"""Names of a transformer's parameters from one code base to another, by tables."""
import re
from collections.abc import Iterable


def renamed(names: Iterable[str], blocks: tuple[str, str], outside: dict[str, str],
            in_block: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Each new name with the old one, and the names that have no place in the tables.

    Args:
        names: Old names.
        blocks: What stands before the number of a block, old and new.
        outside: New name of each parameter outside the blocks, or of what its name begins with, up to a dot or ``_``.
        in_block: The same within a block, behind its number.
    """
    result, unknown = {}, []
    for name in names:
        block, rest = re.fullmatch(rf'(?:{re.escape(blocks[0])}(\d+)\.)?(.*)', name, re.DOTALL).groups()
        table, begin = (outside, '') if block is None else (in_block, f'{blocks[1]}{block}.')
        old = next((old for old in table if (rest.startswith(old) if old[-1] in '._' else rest == old)), None)
        if old is None:
            unknown.append(name)
        else:
            result[begin + table[old] + rest.removeprefix(old)] = name
    return result, unknown
