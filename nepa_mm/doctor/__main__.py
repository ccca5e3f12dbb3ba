"""Say what is installed, what fits what and what works here, and what to do about the rest.

    python -m nepa_mm.doctor
    python -m nepa_mm.doctor --json > doctor.json

Every part is tried in a process of its own, which takes about a minute. The exit code is 0 when all that is needed works, else 1;
missing optional parts are no failure.
"""
import argparse
import json
import sys
from dataclasses import asdict

from .installed import distributions, fits
from .report import is_well, print_report
from .run_tries import run_tries
from .tries import TRIES, outcome


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m nepa_mm.doctor', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', action='store_true', help='print JSON: ok, and findings of group, name, status, found and fix')
    parser.add_argument('--try', dest='name', choices=TRIES, metavar='NAME', help='run one try here, with its whole error')
    return parser.parse_args()


def said(name: str, done: int) -> None:
    if sys.stderr.isatty():
        text = f'{done} of {len(TRIES)} tried: {name}' if done < len(TRIES) else ''
        print(f'\r{text:60}\r', end='', file=sys.stderr, flush=True)


def main() -> int:
    args = parse_args()
    if args.name:
        result = outcome(args.name)  # of an error of its own, Python prints all
        print('; '.join(filter(None, (result['found'], result.get('fix')))))
        return int(result['kind'] != 'Works')
    tried, versions = run_tries(said)
    by_pip = {name: next(iter(found.values())) for name in TRIES if (found := distributions(name))}
    groups = ('installed', 'fits', 'works')
    findings = sorted([*tried, *fits({**by_pip, **versions})], key=lambda each: groups.index(each.group))
    if args.json:
        print(json.dumps(dict(ok=is_well(findings), findings=[asdict(each) for each in findings]), indent=1))
    else:
        print_report(findings)
    return 0 if is_well(findings) else 1


if __name__ == '__main__':
    sys.exit(main())
