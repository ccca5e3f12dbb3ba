#!/usr/bin/env bash
# torchrun --max-restarts starts processes again that meet the old ones' addresses, and cannot connect
#
# Versions: torch 2.14.1, Python 3.11.
# Input: torchrun on one machine with --master_port (the static rendezvous, its default) and --max-restarts 1, two processes on gloo.
#   At the first start process 1 is killed, as an out-of-memory killer does; at the second nothing is wrong.
# Behaviour: since "we create a new TCPStore for every retry so no need to add prefix for each attempt" (torch/distributed/
#   rendezvous.py) keys of an attempt have no prefix of their own any more. But StaticTCPRendezvous keeps its store, and the new
#   processes read from it what the old ones wrote: the addresses of gloo, and all keys that a script has set.
# Seen: at the second start the keys of the first are there, and init_process_group fails with "Connection refused", or a process
#   ends so and the other waits; whether the addresses are read before or after they are written anew is left to chance, so that
#   the script counts the stale key.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 setuptools==81.0.0
cd "$folder"
cat > train.py <<'EOF'
import datetime
import os
import signal

import torch.distributed as dist

attempt, rank = int(os.environ['TORCHELASTIC_RESTART_COUNT']), int(os.environ['RANK'])
store = next(dist.rendezvous('env://', timeout=datetime.timedelta(seconds=20)))[0]
if attempt:
    print('from the first start:', store.check(['said']), flush=True)
else:
    dist.init_process_group('gloo')
    store.set('said', 'by the first start')
    dist.barrier()
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()
EOF
"$folder/venv/bin/python" -m torch.distributed.run --nnodes 1 --node_rank 0 --master_addr 127.0.0.1 --master_port 29651 \
    --nproc_per_node 2 --max-restarts 1 train.py | tee said.txt
test "$(grep -c 'from the first start: True' said.txt)" = 2 || { echo 'the behaviour has changed' >&2; exit 1; }
