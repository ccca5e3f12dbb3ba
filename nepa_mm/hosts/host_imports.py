"""What happens as the hosts are imported, once each, where ``nepa_mm`` was imported before them.

Nothing is imported here: a finder waits for each of the modules in ``AROUND``. Messages about optional parts that nobody asked
for are held back: they stand above every command, where they look like errors.
"""
import logging
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial, wraps
from importlib import import_module, reload
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from nepa_mm.errors import ConfigError, first_line

Execute = Callable[[ModuleType], None]
NO_ONEDL = 'Could not import OneDL'
NO_OPERATORS = r'Fail to import ``MultiScaleDeformableAttention``'
MIM = Path(__file__).parents[1] / '.mim'
# mmpretrain builds a model in its own scope, where those of segmentation and detection have no heads.
OF_MMPRETRAIN = ('pretrain', 'classification', 'ablation')
TAKES_TRANSFORMERS = 'mmpretrain.models.utils', 'mmpretrain.models.multimodal', 'mmpretrain.models'


class AroundImport(MetaPathFinder):
    """Has the first import of one module go through a function, which is given what executes the module, and the module."""

    def __init__(self, name: str, around: Callable[[Execute, ModuleType], None]) -> None:
        self.name, self.around = name, around

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        if name != self.name:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None:  # and is used, or asked for alone
            spec.loader.exec_module = partial(self.execute, spec.loader.exec_module)
        return spec

    def execute(self, execute: Execute, module: ModuleType) -> None:
        with suppress(ValueError):  # done before
            sys.meta_path.remove(self)
        self.around(execute, module)


def extend_hub(execute: Execute, module: ModuleType) -> None:
    """Let mmpretrain's ``ModelHub`` register our models after its own; nothing is read before it is first asked for a name."""
    execute(module)
    hub = module.ModelHub
    register_theirs = hub._register_mmpretrain_models

    @cache
    def register_ours() -> None:
        for folder in OF_MMPRETRAIN:
            try:  # by the public method, which refuses a name that is taken
                hub.register_model_index(MIM / 'configs' / folder / 'metafile.yml', config_prefix=MIM)
            except (ValueError, OSError) as error:
                warnings.warn(f'models of nepa_mm are missing in list_models ({error})', stacklevel=2)

    def register() -> None:
        register_theirs()
        register_ours()

    hub._register_mmpretrain_models = staticmethod(register)


def hold_back_operators(execute: Execute, module: ModuleType) -> None:
    """mmcv without compiled operators warns of one, which no vision transformer uses."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', NO_OPERATORS)
        execute(module)


def hold_back_onedl(execute: Execute, module: ModuleType) -> None:
    """Where a data set cannot be imported, its host logs that at DEBUG, which mmengine prints: only loggers know levels."""
    try:
        execute(module)
    except ImportError:
        from mmengine import logging as host
        print_log = host.print_log

        def once(message: str, *args, **kwargs) -> None:
            host.print_log = print_log
            if message.startswith(NO_ONEDL):
                logging.getLogger('nepa_mm').debug(message)
            else:
                print_log(message, *args, **kwargs)

        host.print_log = once  # the host imports it for its next statement
        raise


def format_once(execute: Execute, module: ModuleType) -> None:
    """Keep the last text that yapf formatted: mmengine asks for a config's four times at the start, and again at each save.

    A config takes it 0.1 to 1 s, longer than to copy a state of 500 MB.
    """
    execute(module)
    format_code, last = module.FormatCode, {}

    def once(*args, **options) -> tuple[str, bool]:
        key = repr((args, options))
        formatted = last.get(key)
        if formatted is None:
            formatted = format_code(*args, **options)
            last.clear()
            last[key] = formatted
        return formatted

    module.FormatCode = once


def centre_names_at_once(execute: Execute, module: ModuleType) -> None:
    """Let mmseg find the place of a class's name in a picture without sorting all of its pixels: 12 s for 1,400 x 1,400."""
    execute(module)

    @wraps(module.SegLocalVisualizer._get_center_loc)
    def middle_of_fullest_row(self, mask):  # [H, W] of 0 and 1; the first such row
        is_class = mask == 1
        row = is_class.sum(1).argmax()
        columns = is_class[row].nonzero()[0]
        return module.np.array([columns[len(columns) // 2], row])

    module.SegLocalVisualizer._get_center_loc = middle_of_fullest_row


def leave_out_mmdet(execute: Execute, module: ModuleType) -> None:
    """Without operators of mmcv, mmdet ends in an ImportError, after seconds and a warning; what can do without it does so."""
    if 'mmdet' in sys.modules or find_spec('mmcv._ext'):
        return execute(module)
    sys.modules['mmdet'] = None  # Python then finds none
    try:
        execute(module)
    finally:
        del sys.modules['mmdet']


def defer_multimodal(execute: Execute, module: ModuleType) -> None:
    """Let mmpretrain import its multimodal models when the first of them is built or imported by its name.

    It imports them whenever transformers and pycocotools are installed: that takes seconds of every start, and transformers 5
    ends it in a TypeError. Until then its own placeholders stand for them, which import instead of refusing.
    """
    dependency = import_module('mmpretrain.utils.dependency')
    there, register_theirs, names = dependency.WITH_MULTIMODAL, dependency.register_multimodal_placeholder, []
    if not there:
        return execute(module)

    def register(models: list[str], registry) -> None:
        for name in models:
            names.append((registry, name))

            def build(name=name, **kwargs):
                load_multimodal(names)
                return registry.get(name)(**kwargs)

            registry.register_module(name=name, module=build)

    def get(name: str):
        if name not in {each for _, each in names}:
            raise AttributeError(f'module {module.__name__!r} has no attribute {name!r}')
        load_multimodal(names)
        return getattr(module, name)

    dependency.WITH_MULTIMODAL, dependency.register_multimodal_placeholder = False, register
    try:
        execute(module)
    finally:
        dependency.WITH_MULTIMODAL, dependency.register_multimodal_placeholder = there, register_theirs
    module.__getattr__ = get


def load_multimodal(placeholders: list[tuple]) -> None:
    """Import mmpretrain's multimodal models in place of the placeholders; ConfigError if they do not fit what is installed."""
    held = [(registry, name, registry.module_dict.pop(name)) for registry, name in placeholders]
    try:
        for name in TAKES_TRANSFORMERS:
            reload(sys.modules[name])
    except Exception as error:  # of many kinds, as transformers and its needs change
        for registry, name, placeholder in held:
            registry.module_dict.setdefault(name, placeholder)
        raise ConfigError(
            f"mmpretrain's multimodal models cannot be imported: {type(error).__name__}: {first_line(error)}",
            'transformers, pycocotools', "install 'transformers<5', in an environment of their own") from error
    placeholders.clear()


AROUND = {
    'mmcv.cnn.bricks.transformer': hold_back_operators,
    'mmpretrain.apis.model': extend_hub,
    'mmdet.datasets.onedl': hold_back_onedl,
    'mmdet.datasets.transforms.loading_onedl': hold_back_onedl,
    'mmpretrain.datasets.onedl': hold_back_onedl,
    'mmseg.datasets.onedl': hold_back_onedl,
    'mmseg.datasets.transforms.loading_onedl': hold_back_onedl,
    'mmpretrain.models': defer_multimodal,
    'mmseg.visualization.local_visualizer': centre_names_at_once,
    'yapf.yapflib.yapf_api': format_once,
    'mmpretrain.models.utils.res_layer_extra_norm': leave_out_mmdet,
    'mmseg.models.decode_heads.mask2former_head': leave_out_mmdet,
    'mmseg.models.decode_heads.maskformer_head': leave_out_mmdet}


def import_with(name: str, ours: str) -> None:
    """Import a module of ours as soon as one of a host is, or now if that is there."""
    def both(execute: Execute, module: ModuleType) -> None:
        execute(module)
        import_module(ours)

    if name in sys.modules:
        import_module(ours)
    else:
        sys.meta_path.insert(0, AroundImport(name, both))


def await_hosts() -> None:
    """Do all else of this as each of the modules is imported; of what is imported already, the names of our configs alone."""
    for name, around in AROUND.items():
        if name not in sys.modules:
            sys.meta_path.insert(0, AroundImport(name, around))
        elif around is extend_hub:
            extend_hub(lambda module: None, sys.modules[name])
