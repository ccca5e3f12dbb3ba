"""The file into which a tool writes its figures."""
import argparse
import json
from pathlib import Path


class JsonFile:
    """A file for figures, for ``add_argument('--json', type=JsonFile)``: its folder is made before anything is measured.

    Raises:
        argparse.ArgumentTypeError: If there can be no such file, in one line.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise argparse.ArgumentTypeError(f'{path!r} cannot be written ({error.strerror}); give another file') from error
        if self.path.is_dir():
            raise argparse.ArgumentTypeError(f'{path!r} is a folder; give a file')

    def write(self, figures: dict | list) -> None:
        self.path.write_text(json.dumps(figures, indent=1) + '\n')
