"""Algorithms, backbones and heads that do not go together by their method: what docs/mixing.md lists as refused."""
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.hosts.type_names import name_of
from nepa_mm.launch.config_parts import SPLITS, dicts_in

# Algorithms of mmpretrain that hide patches inside the backbone, each in a way of its own, and the NEPAViT that does so
HIDING = {'BEiT': 'BEiTNEPAViT', 'CAE': 'CAENEPAViT', 'EVA': 'MAENEPAViT', 'MAE': 'MAENEPAViT', 'MFF': 'MFFNEPAViT',
          'MILAN': 'MILANNEPAViT', 'MaskFeat': 'MaskFeatNEPAViT', 'SimMIM': 'SimMIMNEPAViT'}
OURS = {'NEPAViT', *HIDING.values()}
# What has no use for a NEPAViT, why, and what to do
ALGORITHMS = {
    'MixMIM': ('mixes two images inside the windows of four stages', 'set MAE or SimMIM'),
    'SparK': ('is for convolutions, which it makes sparse; a vision transformer leaves hidden patches out', 'set MAE'),
    'iTPN': ('joins three stages of HiViT, which begin with cells of 4 pixels', 'set MAE or MFF'),
    'CLIPZeroShot': ('has no loss: mmpretrain only runs it', 'set BlipCaption'),
    'Llava': ('has no loss: mmpretrain only runs it', 'set BlipCaption')}
HEADS = {
    'ConformerHead': ('takes the convolutional and the transformer branch of Conformer', 'set LinearClsHead'),
    'DDRHead': ('takes the two branches of DDRNet', 'set FCNHead'),
    'DMHead': ('views maps in an order that tokens do not lie in', 'set nepa_mm.DMHead'),
    'DeiTClsHead': ('takes a distillation token too, and mmpretrain does not train it', 'set VisionTransformerClsHead'),
    'PIDHead': ('takes the three branches of PIDNet', 'set FCNHead'),
    'SideAdapterCLIPHead': ("names masks by CLIP's text, which only CLIP's image features are trained with",
                            'set Mask2FormerHead')}


def check_mixing(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """
    Raises:
        ConfigError: For a model with a :class:`NEPAViT` that its algorithm or a head cannot use, or with a backbone of another
            library that gives nothing that NEPA or a head takes.
    """
    model = cfg.get('model') or {}
    whole, parts = name_of(model), dict(dicts_in(model, 'model.'))
    for key, part in parts.items():
        name = name_of(part)
        if name in OURS and whole in HIDING and name != HIDING[whole]:
            raise ConfigError(f'{part["type"]!r} does not hide patches as {whole} does', f'{key}.type',
                              f"set 'nepa_mm.{HIDING[whole]}'")
        if name in OURS and whole in ALGORITHMS:
            why, remedy = ALGORITHMS[whole]
            raise ConfigError(f'{whole} {why}', 'model.type', f'{remedy}, or a backbone of its own')
        if name in HEADS and part['type'] != f'nepa_mm.{name}' and any(name_of(other) in OURS for other in parts.values()):
            why, remedy = HEADS[name]
            raise ConfigError(f'{name} {why}', f'{key}.type', f'{remedy}, or a backbone of its own')
    backbone = model.get('backbone') or {}
    if name_of(backbone) == 'HuggingFaceClassifier':
        raise ConfigError('HuggingFaceClassifier gives scores of classes alone, no patches', 'model.backbone.type',
                          "set 'nepa_mm.CausalTIMMBackbone'; timm has DINOv3 and SigLIP 2")
    if name_of(backbone) == 'TIMMBackbone' and whole == 'ImageClassifier' and not backbone.get('features_only') and str(
            backbone.get('model_name')).startswith(('deit', 'eva', 'vit_')):
        raise ConfigError(f'TIMMBackbone gives all tokens of {backbone["model_name"]}, and heads take one vector',
                          'model.backbone.type', "set 'nepa_mm.CausalTIMMBackbone', causal=False and out_type='avg_featmap'")
