"""Trainings in processes of their own, for tools that run several: kept when finished, resumed when begun."""
import json
import os
import subprocess
import sys
from pathlib import Path

from nepa_mm.errors import DataError

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def train_to_the_end(config: Path, folder: Path, options: list[str], gpus: int = 1, output: Path | None = None) -> None:
    """Run ``tools/train.py`` until the training in ``folder`` is finished; nothing to do if it is already.

    Args:
        output: File for what it prints; the terminal when not given.

    Raises:
        SystemExit: With the exit code of a training that failed, after one line that says where.
    """
    if (folder / 'done').exists():
        print(f'{folder}: finished before, kept')
        return
    script = [sys.executable, '-W', 'ignore', TOOLS / 'train.py', config]
    if gpus > 1:
        script = ['bash', TOOLS / 'dist_train.sh', config, gpus]
    options = [*options, 'resume=True']  # from the newest checkpoint, or from the beginning where there is none yet
    command = [str(part) for part in (*script, '--work-dir', folder, '--cfg-options', *options)]
    print(' '.join(command), flush=True)
    with open(output or os.devnull, 'a') as file:
        to = dict(stdout=file, stderr=subprocess.STDOUT) if output else {}
        code = subprocess.run(command, env={**os.environ, 'PYTHON': sys.executable}, **to).returncode
    if code:
        seen = f'; its log is {output}' if output else ''
        print(f'nepa_mm: error: a training stopped{seen} | {folder} | the same command resumes it', file=sys.stderr)
        sys.exit(code)
    (folder / 'done').touch()


def logged(folder: Path) -> list[dict]:
    """All records that a training logged, in order, over all its starts."""
    files = sorted(folder.glob('*/vis_data/scalars.json'))  # one for each start, named by its time
    return [record for path in files for record in read_lines(path)]


def read_lines(path: Path) -> list[dict]:
    """Records of a file of JSON lines. A last line cut short, as by a full disk or a kill, is left out; DataError for another."""
    lines, records = path.read_text(errors='replace').splitlines(), []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
            records[-1]['step'] + 0
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                return [record for record in records if isinstance(record, dict) and 'step' in record]
            raise DataError(f'no record of a log: {line[:60]!r}', f'{path}, line {number}', 'mend or remove it') from error
    return records
