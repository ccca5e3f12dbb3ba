"""What is left encoded must meet a transform that decodes it."""
import pytest
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.launch.checks.pipelines import check_decoding


@pytest.mark.parametrize('following, said', [
    ([dict(type='nepa_mm.PackPixels')], 'PackPixels'), ([dict(type='Resize'), dict(type='RandomResizedCropFlip')], 'Resize'),
    ([], 'nothing')])
def test_images_left_encoded_need_a_transform_that_decodes_its_crop(following, said):
    def config(**load):
        pipeline = [dict(type='nepa_mm.LoadImage', **load), *following]
        return Config(dict(train_dataloader=dict(dataset=dict(dataset=dict(pipeline=pipeline)))))

    check_decoding(config())
    with pytest.raises(ConfigError, match=rf'^False leaves images encoded, which {said} does not take \| '
                                          r'train_dataloader.dataset.dataset.pipeline.0.whole \| set whole=True, or let'):
        check_decoding(config(whole=False))
    following.insert(0, dict(type='nepa_mm.RandomResizedCropFlip', size=8))
    check_decoding(config(whole=False))
