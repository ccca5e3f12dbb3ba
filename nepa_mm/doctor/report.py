"""The report: a table on a terminal, plain lines elsewhere."""
import sys

from .finding import ABSENT, OK, PROBLEM, UNTRIED, WARNING, Finding

STYLES = {OK: 'green', ABSENT: 'dim', WARNING: 'yellow', PROBLEM: 'bold red', UNTRIED: 'red'}


def print_report(findings: list[Finding]) -> None:
    """A table where somebody looks at a terminal, and lines elsewhere."""
    if sys.stdout.isatty():
        try:
            return print_table(findings)
        except Exception:  # a broken rich is a finding, and no reason to end
            pass
    for each in together(findings):
        print(f'{each.status:8} {each.name}: {each.found}' + f'; fix: {each.fix}' * bool(each.fix))
    print(verdict(findings))


def print_table(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
    table, console = Table(box=None, show_header=False, padding=(0, 1)), Console()
    group = None
    for each in together(findings):
        if group not in (None, each.group):
            table.add_row()
        group = each.group
        table.add_row(Text(each.status, STYLES[each.status]), Text(each.name, 'bold'), Text(each.found))
    console.print(table)
    for status, title in ((PROBLEM, 'To do'), (WARNING, 'Better'), (ABSENT, 'If you want it')):
        fixes = [each for each in findings if each.status == status and each.fix]
        if fixes:
            console.print(Text(f'\n{title}', STYLES[status]))
        for each in fixes:
            console.print(Text(f'  {each.name}: {each.fix}'), soft_wrap=True)  # in one piece, for copying
    console.print(Text('\n' + verdict(findings), STYLES[OK if is_well(findings) else PROBLEM]))


def together(findings: list[Finding]) -> list[Finding]:
    """The findings, with what was not tried for one reason in one line at the end."""
    reasons = dict.fromkeys(each.found for each in findings if each.status == UNTRIED)
    untried = [Finding('untried', ', '.join(each.name for each in findings if each.status == UNTRIED and each.found == reason),
                       UNTRIED, reason) for reason in reasons]
    return [each for each in findings if each.status != UNTRIED] + untried


def is_well(findings: list[Finding]) -> bool:
    """Whether all that is needed works."""
    return all(each.status != PROBLEM for each in findings)


def verdict(findings: list[Finding]) -> str:
    count = sum(each.status == PROBLEM for each in findings)
    return f'{count} problem{"s" * (count > 1)}' if count else 'all that is needed works'
