"""The commands of the documents: found in them, and expanded by bash."""
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r'^```(\w*)\n(.*?)^```$', re.M | re.S)
NEEDS = re.compile(r'<!-- needs: ([^>]+) -->\n+$')
INDENTED = re.compile(r'(?:^|(?<=\n\n))((?:    .*\n)+)')
COMMAND = re.compile(r'\s*(\w+=["\w]*\s*)*(python|bash|make|pip) ')
INLINE = re.compile(r'`((?:python|bash) tools/[^`]+)`')
# Nothing runs but what asks where a host is installed, as $(python -c ...) in a variable.
RECORDER = r'''
set -u
PATH=/nonexistent
record() {
    for name in $(compgen -e); do
        [[ $name == PWD || $name == SHLVL || $name == _ ]] || printf '%s=%s\x1f' "$name" "${!name}" >&3
    done
    printf '\x1d' >&3; printf '%s\x1f' "$@" >&3; printf '\x1e' >&3
}
python() { if [[ $1 == -c && $BASH_SUBSHELL -gt 0 ]]; then "$0" -W ignore "$@"; else record python "$@"; fi; }
for name in bash make pip mim source mkdir ln cd; do eval "$name() { record $name \"\$@\"; }"; done
command_not_found_handle() { record "$@"; }
'''


@dataclass
class Block:
    """Commands that stand together in a document, what stands above them there, and what they need, if not all have it."""
    page: str
    line: int
    text: str
    needs: str | None = None
    above: str = ''

    def commands(self, folder: Path) -> list['Command']:
        """As bash sees them in a folder: variables, also of blocks above, loops, braces and file names expanded."""
        read, write = os.pipe()
        script = f'{RECORDER}\nexec 3>/dev/null\n{self.above}\nexec 3>&{write}\n{self.text}'
        # $0, so that the real Python needs no path
        done = subprocess.run(['/bin/bash', '-c', script, sys.executable], cwd=folder, env={}, pass_fds=[write],
                              stderr=subprocess.PIPE, text=True)
        os.close(write)
        with open(read, encoding='utf-8', newline='') as pipe:
            records = [record.split('\x1d') for record in pipe.read().split('\x1e')[:-1]]
        assert records and not done.stderr, f'{self}: {done.stderr or "no command"}'
        return [Command(self, argv.split('\x1f')[:-1], dict(pair.split('=', 1) for pair in env.split('\x1f')[:-1]))
                for env, argv in records]

    def __str__(self) -> str:
        return f'{self.page}:{self.line}'


@dataclass
class Command:
    """Words of a command and the variables that are set for it."""
    block: Block
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)

    @property
    def script(self) -> str | None:
        """Of Python or bash."""
        return self.argv[1] if self.argv[0] in ('python', 'bash') and not self.argv[1].startswith('-') else None

    def __str__(self) -> str:
        return f'{self.block}: {" ".join(self.argv)}'


def blocks_of(root: Path, page: Path) -> list[Block]:
    """Fenced blocks of bash and indented ones that begin with a command."""
    text, name = page.read_text(), str(page.relative_to(root))
    found = []
    for match in FENCE.finditer(text):
        if match[1] in ('bash', 'sh', 'shell', 'console'):
            needs = NEEDS.search(text[:match.start()])
            found.append(Block(name, text[:match.start(2)].count('\n') + 1, match[2], needs and needs[1]))
    rest = FENCE.sub(lambda match: '\n' * match[0].count('\n'), text)
    for match in INDENTED.finditer(rest):
        code = '\n'.join(line[4:] for line in match[1].splitlines())
        if COMMAND.match(code):
            needs = NEEDS.search(rest[:match.start()])
            found.append(Block(name, rest[:match.start()].count('\n') + 1, code, needs and needs[1]))
    found.sort(key=lambda block: block.line)
    for i, block in enumerate(found):
        block.above = '\n'.join(other.text for other in found[:i])
    return found


def inline_commands(root: Path, page: Path) -> list[Command]:
    """Commands within sentences and tables."""
    text = FENCE.sub('', page.read_text())
    return [Command(Block(str(page.relative_to(root)), 0, match[1]), match[1].replace('\n', ' ').split())
            for match in INLINE.finditer(text)]
