# imagenet_224.py normalised by ImageNet's mean and standard deviation, for weights that were pretrained so; the model's
# data_preprocessor, of vit_classifier.py, has them too
_base_ = './imagenet_224.py'

pixels = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_pipeline = [dict(step, **pixels) if 'mean' in step else step for step in _base_.train_pipeline]
test_pipeline = [dict(step, **pixels) if 'mean' in step else step for step in _base_.test_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
