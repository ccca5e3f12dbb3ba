"""What is installed, by its metadata, and what fits what, by what the packages themselves say. Nothing is imported."""
import ast
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from .finding import OK, PROBLEM, WARNING, Finding, release

FITS = 'fits'
PYTHONS = (3, 10), (3, 13)  # the first that is enough, the last that is tested
LEAST = dict(torch='2.4', timm='1.0.26')  # as in setup.cfg
# Distributions that bring a module: the maintained continuation first, then the originals
GENERATIONS = {
    'mmengine': ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite', 'mmcv-full'),
    'mmpretrain': ('onedl-mmpretrain', 'mmpretrain'),
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
}
BOUND = re.compile(r'(mmcv|mmengine)_(min|max)(imum_version)?$', re.IGNORECASE)  # how hosts name what they assert


def distributions(module: str) -> dict[str, str]:
    """Versions of the installed distributions that bring a module, by their names."""
    found = {}
    for name in GENERATIONS.get(module, (module, )):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def install_command(module: str, wanted: str = '') -> str:
    """The command that installs a module, in the generation of mm packages that is there; ``wanted`` as in '>=2.0,<2.2'."""
    quote = "'" * bool(wanted)
    if module not in GENERATIONS:
        return f'pip install {quote}{module}{wanted}{quote}'
    continuation, original, *_ = GENERATIONS[module]
    names = {name for each in GENERATIONS for name in distributions(each)}
    if names and not any(name.startswith('onedl-') for name in names):
        return f'pip install -U openmim && mim install {quote}{original}{wanted}{quote}'
    return f'pip install {quote}{continuation}{wanted}{quote}'


def fits(versions: dict[str, str]) -> list[Finding]:
    """Which versions fit each other.

    Args:
        versions: Of modules that are there, as they say themselves.
    """
    found = [python_fits()]
    found += [range_fits('nepa_mm', name, versions[name], dict(min=least)) for name, least in LEAST.items() if name in versions]
    if {'torch', 'torchvision'} <= versions.keys():
        found.append(torchvision_fits(versions['torch'], versions['torchvision']))
    for host in ('mmpretrain', 'mmseg', 'mmdet'):
        if host in versions:
            found += [range_fits(host, module, versions[module], bounds) for module, bounds in asserted(host).items()
                      if module in versions]
    pair = {**distributions('transformers'), **distributions('pycocotools')}
    if 'mmpretrain' in versions and len(pair) == 2:
        found.append(transformers_fits(**pair))
    found += [one_generation(module) for module in GENERATIONS if distributions(module)]
    return found


def python_fits() -> Finding:
    """Whether this Python is one of those that are tested."""
    least, last = PYTHONS
    name, found = 'Python', f'{sys.version.split()[0]}, {sys.executable}'
    range_ = f'Python {least[0]}.{least[1]} to {last[0]}.{last[1]}'
    if sys.version_info[:2] < least:
        return Finding(FITS, name, PROBLEM, found, f'make a virtual environment of {range_}')
    if sys.version_info[:2] > last:
        return Finding(FITS, name, WARNING, f'{found}; not tested', f'{range_} are')
    return Finding(FITS, name, OK, found)


def torchvision_fits(torch: str, torchvision: str) -> Finding:
    """Whether torchvision was built for this torch, which its metadata names, and for the same device."""
    name, found = 'torchvision for torch', f'torchvision {torchvision}, torch {torch}'
    wanted = next((text.replace(' ', '').strip('()') for text in required('torchvision') if re.match(r'torch\b', text)), '')
    pin = re.search(r'==([\d.]+)', wanted)
    if pin and release(pin[1]) != release(torch):
        return Finding(FITS, name, PROBLEM, f'{found}; torchvision is built for torch {pin[1]}', matching_torchvision(torch))
    builds = [text.partition('+')[2] for text in (torch, torchvision)]
    if all(builds) and builds[0] != builds[1]:
        return Finding(FITS, name, PROBLEM, f'{found}; built for {builds[0]} and {builds[1]}', matching_torchvision(torch))
    return Finding(FITS, name, OK, found)


def matching_torchvision(torch: str) -> str:
    """The command for the torchvision of a torch: since torch 2.0 came with 0.15, their minor numbers have gone together."""
    major, minor, *_ = (*release(torch), 0)
    build = torch.partition('+')[2]
    index = f' --index-url https://download.pytorch.org/whl/{build}' if build else ''
    wanted = f"'torchvision==0.{minor + 15}.*'" if major == 2 else 'torch torchvision'
    return f'pip install --force-reinstall --no-deps {wanted}{index}'


def transformers_fits(transformers: str, pycocotools: str) -> Finding:
    """Whether mmpretrain's multimodal models, which it imports where both are there, fit transformers: before 5 they do."""
    name, found = 'transformers for mmpretrain', f'transformers {transformers}, pycocotools {pycocotools}'
    if release(transformers) >= (5, ):
        return Finding(FITS, name, WARNING, f"{found}: mmpretrain's multimodal models cannot be imported, nor mmpretrain.models "
                       'before nepa_mm', "for these models, in an environment of their own: pip install 'transformers<5'")
    return Finding(FITS, name, OK, found)


def required(distribution: str) -> list[str]:
    try:
        return requires(distribution) or []
    except PackageNotFoundError:
        return []


def asserted(host: str) -> dict[str, dict[str, str]]:
    """Bounds that a host asserts as it is imported, read from its source: {'mmcv': {'min': '2.0.0', 'max': '2.2.0'}}."""
    spec = find_spec(host)
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        return {}
    bounds = {}
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.targets[0], ast.Name):
            match = BOUND.match(node.targets[0].id)
            if match:
                bounds.setdefault(match[1].lower(), {})[match[2].lower()] = str(node.value.value)
    return bounds


def range_fits(host: str, module: str, has: str, bounds: dict[str, str]) -> Finding:
    """Whether a module is in the range that a host asserts, or that we do."""
    wanted = ','.join(f'{sign}{bounds[key]}' for key, sign in (('min', '>='), ('max', '<')) if key in bounds)
    name = f'{module} for {host}'
    below = 'min' in bounds and release(has) < release(bounds['min'])
    above = 'max' in bounds and release(has) >= release(bounds['max'])
    if below or above:
        return Finding(FITS, name, PROBLEM, f'{module} {has}; {host} asserts {wanted}', install_command(module, wanted))
    return Finding(FITS, name, OK, f'{has}; {host} asserts {wanted}')


def one_generation(module: str) -> Finding:
    """Whether one distribution alone brings a module: of two, each has written over files of the other."""
    found = distributions(module)
    said = ', '.join(f'{name} {has}' for name, has in found.items())
    if len(found) > 1:
        keep = next(iter(found))
        return Finding(FITS, f'one {module}', PROBLEM, f'{said}: in the same files',
                       f'pip uninstall -y {" ".join(found)} && pip install {keep}')
    return Finding(FITS, f'one {module}', OK, said)
