"""mmcv's operators where they are not compiled, from torchvision and torch. Who imports this room asks for them:

    custom_imports = dict(imports=['nepa_mm.ops'], allow_failed_imports=False)

``mmcv.ops`` is Python around one compiled module, ``mmcv._ext``, which wheels on PyPI come without. Where Python finds none,
``extension.py`` stands in its place. So all else is mmcv's own: names, registered classes, autograd, weights in checkpoints.
"""
from nepa_mm.hosts.operators import OPERATORS, stand_in

__all__ = ['OPERATORS', 'stand_in']

stand_in()
