"""The commands of the documents: found in them, expanded by bash, run or parsed in processes forked from one that is ready."""
import argparse
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
import traceback
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


class Forks:
    """Runs commands of Python in processes that need not import torch, mmpretrain and mmseg anew."""

    def __enter__(self) -> 'Forks':
        env = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[1]), 'OMP_NUM_THREADS': '1', 'MPLBACKEND': 'Agg'}
        self.server = subprocess.Popen([sys.executable, '-W', 'ignore', __file__], env=env, text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_) -> None:
        self.server.stdin.close()
        self.server.wait()

    def run(self, folder: Path, argv: list[str], env: dict[str, str] = {}, only_parse: bool = False) -> tuple[int, str]:
        """Exit code and output of ``python argv`` in a folder; with ``only_parse`` the program ends once it has its arguments."""
        log = folder / 'output.log'
        job = dict(folder=str(folder), argv=argv, env=env, only_parse=only_parse, log=str(log))
        self.server.stdin.write(json.dumps(job) + '\n')
        self.server.stdin.flush()
        return int(self.server.stdout.readline()), log.read_text()


def serve(limit: float = 200.) -> None:
    """Fork for each job that comes by standard input, and answer with its exit code."""
    out = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # the hosts print as they are imported
    import mmpretrain.models  # noqa: F401
    import mmseg.models  # noqa: F401
    import torch

    import nepa_mm.apis  # noqa: F401
    import nepa_mm.engine  # noqa: F401
    torch.set_num_threads(1)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            os._exit(run_job(job))
        began, code = time.monotonic(), None
        while code is None:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() - began > limit:
                os.killpg(child, signal.SIGKILL)
            else:
                time.sleep(0.02)
        out.write(f'{code}\n')
        out.flush()


def run_job(job: dict) -> int:
    """In the child: as ``python`` would, with output to the log."""
    os.setsid()
    os.chdir(job['folder'])
    os.environ.update(job['env'])
    log = os.open(job['log'], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream, target in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(target, stream)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, 'w', closefd=False), open(2, 'w', closefd=False)
    if job['only_parse']:
        parse = argparse.ArgumentParser.parse_args

        def parse_and_stop(self, *args, **kwargs):
            parse(self, *args, **kwargs)
            os._exit(0)

        argparse.ArgumentParser.parse_args = parse_and_stop
    code = 0
    try:
        if job['argv'][0] == '-c':
            sys.argv, sys.path[0] = ['-c'], ''
            exec(job['argv'][1], {'__name__': '__main__'})
        else:
            sys.argv, sys.path[0] = job['argv'], str(Path(job['argv'][0]).resolve().parent)
            runpy.run_path(job['argv'][0], run_name='__main__')
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == '__main__':
    serve()
