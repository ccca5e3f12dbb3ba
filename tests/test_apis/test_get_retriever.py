import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from nepa_mm.apis.get_retriever import retriever_of
from tiny import TINY, randomize


def test_any_pretraining_gives_the_mean_patch_token():
    """Of all tokens, as its backbone gives them by default."""
    config = Config(dict(model=dict(
        type='MAE', backbone=dict(type='nepa_mm.MAENEPAViT', **TINY),
        neck=dict(type='MAEPretrainDecoder', num_patches=16, patch_size=7, embed_dim=16, decoder_embed_dim=16, decoder_depth=1,
                  decoder_num_heads=2),
        head=dict(type='MAEPretrainHead', patch_size=7, loss=dict(type='PixelReconstructionLoss', criterion='L2')))))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = randomize(MODELS.build(config.model)).train(False)
    model._config, model._dataset_meta = config, {}
    images = torch.randn(2, 3, 28, 28)
    tokens, = model.extract_feat(images)
    vectors = retriever_of(model).image_encoder(images)
    torch.testing.assert_close(vectors, tokens[:, 1:].mean(dim=1))
    assert vectors.shape == (2, 16)
