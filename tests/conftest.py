import gc
import signal

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.utils import ManagerMixin

import nepa_mm.ops  # noqa: F401, before mmseg's models, which keep what they find as they are imported

# Models are tiny: a second thread gains nothing, and on a busy machine it waits for the first.
torch.set_num_threads(1)
# A shell that puts the tests into the background has them ignore Ctrl-C, and all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """What is imported is no garbage; mmengine would look for some among it for each data set, half a second each time."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.enable()
    return found


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def managers(kind=ManagerMixin):
    """The classes whose instances mmengine keeps by name: loggers, message hubs, visualizers, default scopes."""
    return [kind, *(each for child in kind.__subclasses__() for each in managers(child))]


@pytest.fixture(autouse=True)
def nothing_of_a_run_stays():
    """mmengine names a run by its config and the second; another test's run in it would get its logger and scope."""
    before = {kind: kind._instance_dict.copy() for kind in managers()}
    yield
    for kind in managers():
        kind._instance_dict = before.get(kind, type(kind._instance_dict)())


@pytest.fixture(autouse=True)
def nobody_logs_to_a_closed_stream():
    """Loggers of a file's fixtures outlive a test, and what it had captured their lines with does not."""
    yield
    for logger in MMLogger._instance_dict.values():
        for handler in [handler for handler in logger.handlers if getattr(getattr(handler, 'stream', None), 'closed', False)]:
            logger.removeHandler(handler)


@pytest.fixture(autouse=True, scope='module')
def no_scope_stays():
    """Tests of one file may share a default scope; others must not find it."""
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True, scope='session')
def no_server_stays():
    yield
    from forks import end_servers  # which imports what must come after nepa_mm.ops
    end_servers()
