"""Algorithms, backbones and heads that do not go together by their method: what docs/mixing.md lists as refused."""
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.hosts.type_names import name_of
from nepa_mm.launch.config_parts import SPLITS, dicts_in

# Algorithms of mmpretrain that hide patches inside the backbone, each in a way of its own, and the NEPAViT that does so
HIDING = {'BEiT': 'BEiTNEPAViT', 'CAE': 'CAENEPAViT', 'EVA': 'MAENEPAViT', 'MAE': 'MAENEPAViT', 'MFF': 'MFFNEPAViT',
          'MILAN': 'MILANNEPAViT', 'MaskFeat': 'MaskFeatNEPAViT', 'SimMIM': 'SimMIMNEPAViT'}
OURS = {'NEPAViT', *HIDING.values()}
BACKBONES = ('backbone', 'image_encoder', 'vision_backbone', 'vision_encoder')  # of a model; a teacher is free
VECTOR_HEADS = ('LinearClsHead', 'StackedLinearClsHead', 'VisionTransformerClsHead')
# What cannot train a NEPAViT, or has no use for one, why, and what to do
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
        ConfigError: For a :class:`NEPAViT` that its algorithm or a head cannot use, or a backbone of another library that gives
            nothing that NEPA or a head takes.
    """
    model = cfg.get('model') or {}
    for key in BACKBONES:
        part = model.get(key)
        if isinstance(part, dict) and name_of(part) in OURS:
            check_ours(model, f'model.{key}', part, 'train' in splits)
    check_others(model, model.get('backbone') or {})


def check_ours(model: dict, key: str, backbone: dict, trains: bool) -> None:
    """Whether algorithm and heads can use an encoder of ours."""
    whole, name = name_of(model), name_of(backbone)
    if HIDING.get(whole, name) != name:
        raise ConfigError(f'{backbone["type"]!r} does not hide patches as {whole} does', f'{key}.type',
                          f"set 'nepa_mm.{HIDING[whole]}'")
    refused = [('model', model, ALGORITHMS)] if whole in ALGORITHMS and trains else [
        (place, part, HEADS) for place, part in dicts_in(model, 'model.')
        if name_of(part) in HEADS and part['type'] != f'nepa_mm.{name_of(part)}']
    for place, part, reasons in refused:
        why, remedy = reasons[name_of(part)]
        raise ConfigError(f'{name_of(part)} {why}', f'{place}.type', f'{remedy}, or a backbone of its own')


def check_others(model: dict, backbone: dict) -> None:
    """Whether a backbone of timm or transformers gives what is taken of it."""
    kind, name = name_of(backbone), str(backbone.get('model_name'))
    if kind == 'HuggingFaceClassifier':
        raise ConfigError('HuggingFaceClassifier gives scores of classes alone, no patches', 'model.backbone.type',
                          "set 'nepa_mm.CausalTIMMBackbone'; timm has DINOv3 and SigLIP 2")
    gives_tokens = kind == 'TIMMBackbone' and name.startswith(('deit', 'eva', 'vit_')) and not backbone.get('features_only')
    if gives_tokens and not model.get('neck') and name_of(model.get('head') or {}) in VECTOR_HEADS:
        raise ConfigError(f'TIMMBackbone gives all tokens of {name}, and the head takes one vector', 'model.backbone.type',
                          "set 'nepa_mm.CausalTIMMBackbone', causal=False and out_type='avg_featmap'")
