"""NEPA of the package stable-pretraining: its module, and the step that Lightning takes with it.

Its model has no [CLS], masks attention with a matrix and keeps no average; optimizer, clipping and precision are the config's.
Timed is the bare step: forward under autocast (where the config has it), backward, clipping, AdamW.
"""
from worker import Worker


def main() -> None:
    worker = Worker()
    try:
        import stable_pretraining
        from stable_pretraining.methods.nepa import NEPA
    except ImportError as error:
        worker.stop(f'cannot import stable_pretraining ({error}); pip install stable-pretraining into a Python of its own and '
                    'name it with --peer-python')
    config = worker.settings['released_config']
    model = NEPA(
        img_size=worker.settings['img_size'], patch_size=config['patch_size'], embed_dim=config['hidden_size'],
        depth=config['num_hidden_layers'], num_heads=config['num_attention_heads'],
        mlp_ratio=config['intermediate_size'] / config['hidden_size'], use_swiglu=config['use_gated_mlp'])
    model.to(worker.device).train()
    optimizer, images = worker.optimizer(list(model.parameters())), worker.images()
    worker.serve(lambda: worker.step(lambda images: model(images).loss, model, optimizer, images), name='stable-pretraining',
                 version=getattr(stable_pretraining, '__version__', 'unknown'),
                 parameters=sum(value.numel() for value in model.parameters()))


if __name__ == '__main__':
    main()
