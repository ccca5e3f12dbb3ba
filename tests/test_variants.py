"""What lies below models and checkpoints says of NEPAViT what it says itself."""
from inspect import signature

from nepa_mm import NEPAViT
from nepa_mm.variants import DEFAULTS, complete_arguments

# These change how it runs, what it hands on or where it begins, and not what a checkpoint holds.
OF_A_RUN = {'out_indices', 'output_cls_token', 'final_norm', 'frozen_stages', 'with_cp', 'compile', 'kwargs'}


def test_defaults_are_those_of_the_backbone():
    own = {name: parameter.default for name, parameter in signature(NEPAViT).parameters.items()}
    assert DEFAULTS == {name: default for name, default in own.items() if name not in OF_A_RUN}


def test_complete_arguments():
    arguments = complete_arguments(dict(type='nepa_mm.NEPAViT', arch='large', causal=False))
    assert arguments['arch']['num_layers'] == 24 and not arguments['causal'] and arguments['norm_eps'] == 1e-12
