"""Sizes of :class:`NEPAViT`, what it is by default, and the variants of the release and the paper."""
from nepa_mm.errors import ConfigError, checked_choice

ARCHS = {
    'tiny': dict(embed_dims=192, num_layers=12, num_heads=3, feedforward_channels=768),
    'small': dict(embed_dims=384, num_layers=12, num_heads=6, feedforward_channels=1536),
    'base': dict(embed_dims=768, num_layers=12, num_heads=12, feedforward_channels=3072),
    'large': dict(embed_dims=1024, num_layers=24, num_heads=16, feedforward_channels=4096),
    'huge': dict(embed_dims=1280, num_layers=32, num_heads=16, feedforward_channels=5120),
    'giant': dict(embed_dims=1408, num_layers=40, num_heads=16, feedforward_channels=6144),  # ViT-g, arXiv 2106.04560
}
# The arguments of NEPAViT that make a model, as it has them by default; a test compares them.
DEFAULTS = dict(
    arch='base', img_size=224, patch_size=14, in_channels=3, causal=True, out_type='raw', with_cls_token=True,
    use_abs_pos_embed=False, rope=dict(theta=100., rescale=2.), qk_norm='plain', qkv_bias=True, layer_scale_init_value=1e-5,
    act='gelu', gated_mlp=False, drop_path_rate=0., norm_eps=1e-12)
RELEASE = dict(with_cls_token=True, use_abs_pos_embed=False, gated_mlp=False, act='gelu')
PAPER = dict(with_cls_token=False, use_abs_pos_embed=True, gated_mlp=True, act='silu')


def arch_settings(arch: str | dict) -> dict[str, int]:
    """Sizes of a named architecture, or of a dict with the same keys whose width the heads divide; else ConfigError."""
    if not isinstance(arch, dict):
        return ARCHS[checked_choice('arch', arch, ARCHS)]
    if set(arch) != set(ARCHS['base']):
        raise ConfigError(f'{dict(arch)} has not exactly the keys {list(ARCHS["base"])}', 'arch',
                          f'give these, or choose from {list(ARCHS)}')
    wrong = {key: value for key, value in arch.items() if not isinstance(value, int) or value < 1}
    if wrong:
        raise ConfigError(f'{wrong} is no whole number of 1 or more', 'arch', 'give one')
    if arch['embed_dims'] % arch['num_heads']:
        raise ConfigError(f'{arch["embed_dims"]} is not a multiple of num_heads={arch["num_heads"]}', 'arch.embed_dims',
                          'change one of the two')
    return arch


def complete_arguments(backbone: dict) -> dict:
    """Arguments of a :class:`NEPAViT` config with those that it leaves to their defaults."""
    arguments = {**DEFAULTS, **backbone}
    return dict(arguments, arch=arch_settings(arguments['arch']))


def variant_of(backbone: dict) -> str:
    """'release' or 'paper' for the arguments of a :class:`NEPAViT`, 'custom' for a mix of both."""
    settings = {name: backbone.get(name, default) for name, default in RELEASE.items()}
    return 'release' if settings == RELEASE else 'paper' if settings == PAPER else 'custom'
