"""What each process of a training is doing, told to the others: of a collective that hangs, the slow process can be named.

A backend says no more than that it has waited too long, and of NCCL a thread of PyTorch's then aborts the process.
"""
import json
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import torch.distributed as dist
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch._C import _distributed_c10d as c10d

from nepa_mm.errors import ProcessError, leave_word
from nepa_mm.launch.config_parts import value_at
from nepa_mm.registry import HOOKS

from .interruptions import shared_store

DOING = 'nepa_mm/doing/{}'  # of a process, in the store that they share
DUMPS = ('_dump_fr_trace_json', '_dump_nccl_trace_json')  # of PyTorch's flight recorder: of gloo and others, of NCCL


def waiting_in() -> dict | None:
    """The oldest collective that is not done, by PyTorch's flight recorder: its name, group and number; None if none is known."""
    entries = []
    for name in DUMPS:
        if hasattr(c10d, name):  # which older versions have not
            entries += json.loads(getattr(c10d, name)(includeCollectives=True, onlyActive=True)).get('entries', [])
    active = [entry for entry in entries if not entry['retired'] and entry['state'] != 'completed']
    if not active:
        return None
    oldest = min(active, key=lambda entry: entry['time_created_ns'])
    name = oldest['profiling_name'].partition(':')[2]  # behind the backend's
    return dict(name=name, group=oldest['process_group'], number=oldest['collective_seq_id'])


@HOOKS.register_module()
class HangWatchHook(Hook):
    """Tell the other processes at times, from a thread, in which step this one is, where, and for which collective it waits.

    :class:`ReliableRunner` adds it. Where the backend is NCCL, :meth:`look` says what hangs shortly before PyTorch aborts the
    process, as the word that ``tools/dist_run.py`` ends with.
    """

    store = None

    def before_train(self, runner: Runner) -> None:
        self.runner, self.store = runner, shared_store(runner)
        if self.store is None:
            return
        self.store = self.store.clone() if hasattr(self.store, 'clone') else self.store  # whose calls wait for no other thread's
        self.rank, self.world_size = get_dist_info()
        is_nccl = dist.get_backend() == 'nccl'
        default = dist.constants.default_pg_nccl_timeout if is_nccl else dist.constants.default_pg_timeout
        self.timeout = value_at(runner.cfg, 'env_cfg.dist_cfg.timeout') or default.total_seconds()
        self.tick, self.speaks_early = min(5., self.timeout / 8), is_nccl
        self.beat, self.waits, self.since, self.has_said, self.has_failed = 0, None, time.monotonic(), False, False
        self.ended, self.main = threading.Event(), threading.get_ident()
        self.tell()
        threading.Thread(target=self.keep_telling, daemon=True).start()

    def after_train(self, runner: Runner) -> None:
        if self.store is not None:
            self.ended.set()

    def keep_telling(self) -> None:
        """Tell and look until the training ends, or the store does."""
        with suppress(dist.DistError, RuntimeError):
            while not self.ended.wait(self.tick):
                self.tell()
                if self.speaks_early:
                    self.look()

    def tell(self) -> None:
        """Write down what this process is doing, or was when it gave a collective up, which is then no longer known."""
        waits = self.waits if self.has_failed else waiting_in()
        if waits != self.waits:
            self.waits, self.since = waits, time.monotonic()
        self.beat += 1
        said = dict(step=self.runner.iter + 1, at=self.place(), waits=waits, has_failed=self.has_failed, beat=self.beat)
        self.store.set(DOING.format(self.rank), json.dumps(said))

    def place(self) -> str:
        """The line of code at which the training is."""
        frame = sys._current_frames().get(self.main)
        if frame is None:
            return '?'
        return f'{frame.f_code.co_name} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})'

    def look(self) -> None:
        """Leave word if the oldest collective is about to be given up, and take it back if it is done after all."""
        is_late = self.waits is not None and time.monotonic() - self.since > self.timeout - 4 * self.tick
        if is_late and not self.has_said:
            error = ProcessError(f'another process of the training hangs ({self.report()})',
                                 f'process {self.rank}, pid {os.getpid()}', 'go on with --resume')
            self.has_failed = False  # it may be done after all
            leave_word(f'nepa_mm: error: {error.line}', error.exit_code)
            self.runner.logger.error(error.line)
        elif self.has_said and not is_late and 'TORCHELASTIC_ERROR_FILE' in os.environ:
            Path(os.environ['TORCHELASTIC_ERROR_FILE']).unlink(missing_ok=True)
        self.has_said = is_late

    def report(self) -> str:
        """Which collective of which step hangs, and for whom it waits; asks no longer than a few seconds."""
        if self.store is None:
            return 'before the first step'
        self.has_failed = True
        found = [f'step {self.runner.iter + 1}']
        thread = threading.Thread(target=self.compare, args=[found], daemon=True)  # whoever keeps the store may hang as well
        thread.start()
        thread.join(4 * self.tick + 5)
        return found[-1] if len(found) > 1 else f'{found[0]}; the store that the processes share does not answer'

    def compare(self, found: list[str]) -> None:
        """Add to what was found how far each process is."""
        with suppress(dist.DistError, RuntimeError):
            self.tell()
            before = self.doings()
            time.sleep(2.5 * self.tick)
            now = self.doings()
            waits = self.waits
            what = f'{found[0]}, {waits["name"]} {waits["number"]}' if waits else found[0]
            slow = {rank: doing for rank, doing in now.items()
                    if rank != self.rank and is_behind(doing, waits, before.get(rank) == doing)}
            # Of several collectives at once, others that wait may be in an earlier one
            causes = [rank for rank, doing in slow.items()
                      if not doing['has_failed'] and (before.get(rank) == doing or not doing['waits'])]
            behind = [self.said_of(rank, slow[rank], before.get(rank) == slow[rank]) for rank in causes or slow]
            found.append(f'{what} waits for {" and ".join(behind)}' if behind else f'{what} waits, and all processes are in it')

    def doings(self) -> dict[int, dict]:
        keys = {rank: DOING.format(rank) for rank in range(self.world_size)}
        return {rank: json.loads(self.store.get(key)) for rank, key in keys.items() if self.store.check([key])}

    def said_of(self, rank: int, doing: dict, is_silent: bool) -> str:
        """A process that is behind, in words."""
        if is_silent:
            return f'process {rank}, which was last heard of in step {doing["step"]} at {doing["at"]}'
        if doing['waits']:
            return f'process {rank}, which waits in {doing["waits"]["name"]} {doing["waits"]["number"]} of step {doing["step"]}'
        return f'process {rank}, which is in step {doing["step"]} at {doing["at"]}'


def is_behind(doing: dict, waits: dict | None, is_silent: bool) -> bool:
    """Whether a process keeps one waiting that waits in a collective."""
    if doing['has_failed']:  # it has waited too long as well, perhaps in an earlier one
        theirs = doing['waits']
        return bool(waits and theirs and theirs['group'] == waits['group'] and theirs['number'] < waits['number'])
    return is_silent or not doing['waits'] or (
        waits is not None and doing['waits']['group'] == waits['group'] and doing['waits']['number'] < waits['number'])
