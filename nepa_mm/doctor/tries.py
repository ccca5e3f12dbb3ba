"""Tries of packages and optional parts, each run by ``python -m nepa_mm.doctor.tries NAME FILE`` in a process of its own.

A try is a function that returns what it found, as text or as a dict with ``found``, ``version`` and, of what works but not well,
``fix``; or raises: :class:`Absent` or :class:`Unfit` where the reason is known, else whatever the package raises. It must be true
work with a checked result; that a module imports says little.
"""
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from nepa_mm.hosts.operators import OPERATORS, stand_in

from . import jpegs
from .driver import driver_s_cuda, no_gpu
from .finding import Absent, Unfit, release
from .installed import distributions, install_command

INSTALLED, WORKS = 'installed', 'works'
NEEDED = ('numpy', 'torch', 'torchvision', 'timm', 'mmengine', 'mmcv', 'mmpretrain', 'matplotlib', 'rich', 'safetensors',
          'huggingface_hub')
PURPOSES = dict(mmseg='segmentation', mmdet='detection')  # of those that may be missing
IMPORT_NEEDS = dict(safetensors=('torch', ), torchvision=('torch', ), timm=('torchvision', ), mmengine=('torch', 'numpy'),
                    mmcv=('mmengine', ), mmpretrain=('mmcv', ), mmseg=('mmcv', ),
                    mmdet=('mmcv', 'torchvision'))

FILES = 1024  # open at once: what most systems allow, and what loaders with labels of many images come near to
# What a module itself leaves out when it is imported
DEEPER = dict(mmdet='mmdet.datasets', mmengine='mmengine.runner', mmseg='mmseg.models', safetensors='safetensors.torch')


@dataclass
class Try:
    name: str
    run: Callable[[], str | dict] = field(repr=False)
    group: str = WORKS
    needs: tuple[str, ...] = ()  # tries that come first
    is_needed: bool = False
    timeout: int = 120  # seconds; a busy machine takes long to read torch from its disk


TRIES: dict[str, Try] = {}


def tried(name: str, **kwargs) -> Callable:
    def add(function: Callable) -> Callable:
        TRIES[name] = Try(name, function, **kwargs)
        return function

    return add


def importing(module: str) -> Callable[[], dict]:
    def run() -> dict:
        if find_spec(module) is None:
            if module in NEEDED:
                raise Unfit('is not installed', install_command(module))
            raise Absent(f'is not installed; {PURPOSES[module]} needs it', install_command(module))
        if module == 'mmdet':
            stand_in()
        import_module(DEEPER.get(module, module))
        loaded = sys.modules[module]
        if getattr(loaded, '__file__', None) is None:
            raise Unfit(f'is a folder of that name and no package: {list(loaded.__path__)[0]}', 'run the command elsewhere')
        if module == 'torchvision':
            from torchvision.ops import nms
            assert kept_by(nms) == [0, 2]  # another torch cannot load its code
        return imported(module, getattr(loaded, '__version__', ''))

    return run


def imported(module: str, says: str) -> dict:
    """What to report of a module that could be imported: its version, and pip's of the distribution if that is another."""
    by_pip = distributions(module)
    if not says or any(release(has) == release(says) for has in by_pip.values()):
        name, has = next(iter(by_pip.items()), (module, says))
        return dict(found=f'{name} {says or has}' if name != module else says or has, version=says)
    file = sys.modules[module].__file__
    if not by_pip:
        return dict(found=f'{says} from {file}, without metadata', version=says)
    return dict(
        found=f'{says} from {file}, and by pip {", ".join(f"{name} {has}" for name, has in by_pip.items())}: two copies',
        fix=f'remove the one that you do not want: pip uninstall {next(iter(by_pip))}, or {Path(file).parent}', version=says)


def kept_by(nms: Callable) -> list[int]:
    """Which of three boxes a compiled non-maximum suppression keeps: of the first two, which overlap, the first."""
    import torch
    boxes = torch.tensor([[0., 0., 2., 2.], [0., 0., 2., 1.9], [5., 5., 6., 6.]])
    kept = nms(boxes, torch.tensor([3., 2., 1.]), 0.5)
    return (kept if isinstance(kept, torch.Tensor) else kept[1]).tolist()  # mmcv gives the boxes as well


for _module in (*NEEDED, 'mmseg', 'mmdet'):  # in this order: a try comes after what it needs
    TRIES[_module] = Try(_module, importing(_module), INSTALLED, IMPORT_NEEDS.get(_module, ()), is_needed=_module != 'mmdet')


@tried('nepa_mm', group=INSTALLED, needs=('mmpretrain', 'timm', 'safetensors'), is_needed=True)
def training_step() -> dict:
    """A step of a small model by its registered name, on the CPU."""
    import torch
    from mmengine.registry import MODELS

    import nepa_mm.checkpoints  # noqa: F401, as `import nepa_mm` does
    from nepa_mm import __version__
    model = MODELS.build(dict(
        type='nepa_mm.NEPA', data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
        backbone=dict(
            type='nepa_mm.NEPAViT', arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64), img_size=28,
            patch_size=7)))
    loss = model(torch.rand(2, 3, 28, 28), mode='loss')['loss']
    loss.backward()
    if not loss.isfinite():
        raise Unfit(f'the loss of a training step is {loss.item()}', 'report it with the output of this command')
    return dict(found=f'{__version__} from {os.path.dirname(nepa_mm.__file__)}; a training step works')


@tried('torch and NumPy', needs=('torch', 'numpy'), is_needed=True)
def torch_and_numpy() -> str:
    import numpy as np
    import torch
    assert torch.from_numpy(np.arange(3)).numpy().sum() == 3
    return 'share arrays'


@tried('GPU', needs=('torch', ), is_needed=True)
def gpu() -> str | dict:
    """Driver, torch's build and a product in bfloat16 on each GPU."""
    driver = driver_s_cuda()  # before torch, which hides why a driver fails
    import torch
    if not torch.cuda.is_available():
        if driver is None:
            raise Absent('no NVIDIA GPU or no driver here; training runs on the CPU', '')
        raise no_gpu(driver, torch.version.cuda, torch.__version__)
    said = []
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        a = torch.rand(64, 64, device=f'cuda:{i}')
        assert torch.allclose((a.bfloat16() @ a.bfloat16()).float(), a @ a, rtol=2e-2), 'a product in bfloat16 is wrong'
        said.append(f'{properties.name}, {properties.total_memory / 2**30:.0f} GiB, compute capability '
                    f'{properties.major}.{properties.minor}')
        if properties.major < 8 and not torch.version.hip:
            return dict(found=f'{said[-1]}: bfloat16 works, but slowly, by emulation',
                        fix='use a GPU of compute capability 8.0 or more')
    return f'bfloat16 works on {"; ".join(said)}'


@tried('flash attention', needs=('torch', ))
def flash_attention() -> str:
    """PyTorch's flash kernel, against the plain formula."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    q, k, v = torch.rand(3, 2, 4, 65, 64, device=device).bfloat16()
    attend = torch.nn.functional.scaled_dot_product_attention
    with sdpa_kernel(SDPBackend.MATH):
        expected = attend(q, k, v, is_causal=True)
    try:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            found = attend(q, k, v, is_causal=True)
    except RuntimeError as error:
        raise Absent(f'has no kernel for this device ({error}); others are used, which take longer', '') from error
    assert torch.allclose(found.float(), expected.float(), atol=2e-2), 'its result is wrong'
    return f'works on the {"GPU" if device == "cuda" else "CPU"}'


@tried('torch.compile', needs=('torch', ), timeout=600)
def compile_() -> str:
    """A forward and a backward pass, compiled anew."""
    if not any(shutil.which(name) for name in (os.environ.get('CXX', 'g++'), 'g++', 'clang++')):
        raise Absent('there is no C++ compiler, which pretraining compiles with',
                     'apt install g++; or train without, TORCH_COMPILE_DISABLE=1')
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(TORCHINDUCTOR_CACHE_DIR=folder, TORCHINDUCTOR_COMPILE_THREADS='1')
        os.environ.pop('TORCH_COMPILE_DISABLE', None)
        import torch
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        x = torch.rand(8, 8, device=device, requires_grad=True)
        y = torch.compile(lambda x: (x.sin() + 1).log().sum())(x)
        y.backward()
    assert torch.allclose(x.grad, x.cos() / (x.sin() + 1)), 'its gradient is wrong'
    return f'works on the {"GPU" if device == "cuda" else "CPU"}'


@tried('loader workers', needs=('torch', ), is_needed=True)
def loader_workers() -> str | dict:
    """A batch of pretraining and one with its labels apart, from two workers: through shared memory, by open files."""
    import torch
    shared = shutil.disk_usage('/dev/shm').free / 2**30 if os.path.isdir('/dev/shm') else None
    wanted = 1.2  # GiB, for 8 workers with 2 batches each of 512 images
    batch = 512 * 3 * 224 * 224
    if shared is not None and 2 * batch > shared * 2**30:  # filling it would end in a bus error
        raise Unfit(f'/dev/shm has {shared:.2f} GiB of shared memory free; workers of pretraining take {wanted} GiB for each GPU',
                    'docker run --shm-size=16g (or --ipc=host); or lower train_dataloader.num_workers and batch_size')
    make = partial(made_up_batch, batch)
    loader = torch.utils.data.DataLoader(range(2), batch_size=None, num_workers=2, prefetch_factor=1, collate_fn=make)
    for pixels, labels in loader:
        assert int(pixels[-1]) == 7 and len(labels) == 128
    if shared is not None and shared < wanted:
        return dict(found=f'work, but /dev/shm has {shared:.2f} GiB free; those of pretraining take {wanted} GiB for each GPU',
                    fix='docker run --shm-size=16g (or --ipc=host); or lower train_dataloader.num_workers')
    return 'work' + (f'; {shared:.1f} GiB of shared memory free' if shared is not None else '')


def made_up_batch(size: int, index: int) -> tuple:
    """As many bytes as a batch of pretraining has, and as many tensors as one of fine-tuning."""
    import torch
    return torch.full((size, ), 7, dtype=torch.uint8), [torch.tensor([i]) for i in range(128)]


for _name, _needs, _run in (('JPEG by torchvision', ('torchvision', 'numpy'), jpegs.by_torchvision),
                            ('crops of JPEGs by nvImageCodec', ('nepa_mm', ), jpegs.crops_by_nvimagecodec)):
    tried(_name, needs=_needs)(_run)


@tried('mmcv operators', needs=('mmcv', 'torchvision'))
def mmcv_operators() -> str:
    """mmcv's compiled code, or what stands in for it: the first to touch is kept, and a map is read where a region lies."""
    is_compiled = find_spec('mmcv._ext') is not None
    stand_in()
    import torch
    from mmcv.ops import nms, roi_align
    assert kept_by(nms) == [0, 2], 'nms keeps other boxes'
    cells = roi_align(torch.arange(16.).reshape(1, 1, 4, 4), torch.tensor([[0., 0., 0., 2., 2.]]), 2, 1., 1, 'avg', True)
    assert torch.allclose(cells.flatten(), torch.tensor([0., 1., 4., 5.])), 'roi_align reads other cells'
    if is_compiled:
        return 'compiled, and work'
    return f'not compiled in this mmcv; in configs that import nepa_mm.ops these stand in: {", ".join(OPERATORS)}'


@tried('datasets', needs=('numpy', ))
def datasets() -> str:
    present('datasets', 'for images in Hugging Face\'s formats and packed ones')
    import datasets
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        datasets.Dataset.from_dict(dict(image=[b'ab', b'c'])).save_to_disk(folder)
        assert datasets.load_from_disk(folder)[1]['image'] == b'c'
    return f'{datasets.__version__} works'


@tried('onnx', needs=('torch', 'numpy'))
def onnx() -> str:
    """A linear layer by torch.onnx and onnxruntime."""
    for module in ('onnx', 'onnxscript', 'onnxruntime'):
        present(module, 'for export', 'pip install onnx onnxscript onnxruntime')
    import numpy as np
    import onnxruntime
    import torch
    if torch.__version__ < (2, 5):
        raise Absent(f'torch {torch.__version__} does not write ONNX as we ask for it', "pip install 'torch>=2.5'")
    layer, x = torch.nn.Linear(3, 2), torch.rand(4, 3)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # some versions leave a report
        torch.onnx.export(layer, (x, ), 'layer.onnx', dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession('layer.onnx', providers=['CPUExecutionProvider'])
        found, = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert np.allclose(found, layer(x).detach().numpy(), atol=1e-5), 'its result is wrong'
    return f'export and onnxruntime {onnxruntime.__version__} work'


@tried('tensorboard', needs=('torch', 'numpy'))
def tensorboard() -> str:
    present('tensorboard', 'for TensorboardVisBackend')
    from torch.utils.tensorboard import SummaryWriter
    with tempfile.TemporaryDirectory() as folder:
        with SummaryWriter(folder) as writer:
            writer.add_scalar('loss', 1., 1)
        assert os.listdir(folder)
    return 'works'


@tried('open files')
def open_files() -> str | dict:
    """How many files a process may open: a worker's tensors are one each."""
    if find_spec('resource') is None:  # no such limit on this system
        return 'no limit'
    import resource
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= limit < FILES:
        return dict(found=f'{limit} at once, below {FILES}; loaders with workers need many', fix=f'ulimit -n {64 * FILES}')
    return f'{limit if limit >= 0 else "any number"} at once'


def present(module: str, purpose: str, how: str = '') -> None:
    if find_spec(module) is None:
        raise Absent(f'{module} is not installed; {purpose}', how or f'pip install {module}')


def outcome(name: str) -> dict:
    """What a try finds here; its own errors are raised."""
    try:
        found = TRIES[name].run()
    except (Absent, Unfit) as error:
        return dict(kind=type(error).__name__, found=error.args[0], fix=error.args[1])
    return dict(found if isinstance(found, dict) else dict(found=found), kind='Works')


def main(name: str, path: str) -> None:
    """Run a try and write what it found as JSON."""
    try:
        result = outcome(name)
    except BaseException as error:  # a package may raise anything, SystemExit too
        result = dict(kind='Error', found=f'{type(error).__name__}: {error}')
    with open(path, 'w') as file:
        json.dump(result, file)


if __name__ == '__main__':
    main(*sys.argv[1:])
