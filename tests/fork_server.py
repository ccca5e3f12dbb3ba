"""Starts commands of Python, each in a new process that finds torch and the hosts imported: 0.3 s instead of 6.

    python fork_server.py ours|hosts|mmdet

'hosts' imports mmengine and neither mmpretrain nor mmseg, as their tools, and ``nepa_mm``, are to do themselves; 'mmdet'
all that a detector takes, after the operators that stand in.
Reads orders from standard input, one JSON object a line, and answers each with a line.
"""
import argparse
import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import threading
import traceback
import weakref
from functools import partial
from importlib.util import find_spec

OURS = ['nepa_mm', 'nepa_mm.apis', 'nepa_mm.engine', 'nepa_mm.evaluation', 'nepa_mm.launch.build_runner',
        'nepa_mm.launch.checks', 'nepa_mm.visualization', 'torch.utils.cpp_extension', 'yapf']  # the last at a runner's start
HOSTS = ['torch', 'torchvision', 'matplotlib.pyplot', 'mmcv', 'mmengine.runner']
THEIRS = ['mmpretrain.apis', 'mmpretrain.datasets', 'mmpretrain.engine', 'mmpretrain.evaluation', 'mmpretrain.models',
          'mmpretrain.visualization']
OF_MMDET = ['nepa_mm.ops', *OURS, 'mmpretrain.models', 'mmdet.datasets', 'mmdet.engine', 'mmdet.evaluation', 'mmdet.models',
            'mmdet.visualization']
OF_MMSEG = ['mmseg.apis', 'nepa_mm.evaluation.exact_iou_metric', 'nepa_mm.models.dense.segmentors']


def wait_for_order() -> dict:
    """Answer until there is an order to start a command; comes back in the new process alone."""
    for line in sys.stdin:
        order = json.loads(line)
        if 'poll' in order:
            pid, status = os.waitpid(order['poll'], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            ready, opened = os.pipe()
            answer = os.fork()
            if not answer:
                os.close(ready)
                return dict(order, opened=opened)
            os.close(opened)
            os.read(ready, 1)  # until it has opened its streams: a terminal that nobody holds would be taken for one at its end
            os.close(ready)
        print(json.dumps(answer), flush=True)
    os._exit(0)


def stop_at_arguments() -> None:
    """End the program once it has read its arguments."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        os._exit(0)

    argparse.ArgumentParser.parse_args = parse_and_stop


def run(argv: list[str]) -> None:
    """As ``python ARGV``, where an option, -c or -m, comes first if there is one."""
    if argv[0] == '-c':
        sys.argv, sys.path[0] = ['-c', *argv[2:]], ''
        exec(compile(argv[1], '<string>', 'exec'), {'__name__': '__main__'})
    elif argv[0] == '-m':
        sys.argv, sys.path[0] = argv[1:], os.getcwd()
        runpy.run_module(argv[1], run_name='__main__', alter_sys=True)
    else:
        sys.argv, sys.path[0] = argv, os.path.dirname(os.path.abspath(argv[0]))
        runpy.run_path(argv[0], run_name='__main__')


class ForkedChild(subprocess.Popen):
    """A child process; one of this Python is forked in its turn, and finds all imported. Its own children are not."""

    def __init__(self, args, *rest, env=None, **options) -> None:
        if args[0] == sys.executable:
            options['preexec_fn'] = partial(run_as_child, [str(word) for word in args[1:]], env)  # which never comes to exec
        super().__init__(args, *rest, env=env, **options)


def run_as_child(argv: list[str], env: dict[str, str] | None) -> None:
    """Be a command, in a process whose streams, folder and session ``Popen`` has made."""
    subprocess.Popen = ForkedChild.__base__
    weakref.finalize._registry.clear()  # temporary folders, which the parent removes at its own end
    os.closerange(3, os.sysconf('SC_OPEN_MAX'))  # also what Popen waits at, as it would be by exec
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
    run_to_the_end(argv[2:] if argv[0] == '-W' else argv)


def run_to_the_end(argv: list[str], before: str = '', only_parse: bool = False) -> None:
    """Run a command with the streams 0, 1 and 2, and end the process with its exit code."""
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, 'w', closefd=False), open(2, 'w', closefd=False)
    code = 0
    try:
        exec(before, {})
        if only_parse:
            stop_at_arguments()
        run(argv)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()  # all that ends a process but taking apart what was imported, which takes longest
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


gc.disable()  # while there is no garbage
with contextlib.redirect_stdout(sys.stderr):  # which some print to
    for name in dict(ours=[*OURS, *THEIRS, *(OF_MMSEG if find_spec('mmseg') else [])], hosts=HOSTS, mmdet=OF_MMDET)[sys.argv[1]]:
        importlib.import_module(name)
assert threading.active_count() == 1, 'a thread would not be there after a fork'
gc.freeze()  # memory that is not looked at is not copied
gc.enable()
order = wait_for_order()
os.setsid()
os.chdir(order['folder'])
os.environ.update(order['env'])
for number, path in enumerate(order['streams']):  # a terminal is not made its own, which would send it signals
    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOCTTY), number)
os.close(order['opened'])
if order['fork_children']:
    subprocess.Popen = ForkedChild
run_to_the_end(order['argv'], order['before'], order['only_parse'])
