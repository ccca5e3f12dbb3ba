"""What runs through torch.compile: nothing is left out of the graphs, nothing compiled twice, and no number moves."""
import copy
import pickle
from collections import Counter
from functools import partial

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.torch_version import TorchVersion

from nepa_mm import NEPA, NEPAViT, NextEmbeddingLoss, get_model
from nepa_mm.errors import ConfigError
from nepa_mm.models import MultiEmbeddingLoss, SIGReg
from nepa_mm.models import compiled as module
from nepa_mm.models.block import Block, rotations_of_all
from tiny import GOLDEN, GOLDEN_PRETRAINING, TINY, assert_golden_gradients, golden_tensors, needs_golden, randomize

IMAGES = torch.randn(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
# More blocks, each of another stochastic depth, than there may be versions of one function
DEEP = {**TINY, 'arch': {**TINY['arch'], 'num_layers': 12}, 'drop_path_rate': 0.3}
recomputes = pytest.mark.skipif(torch.__version__ < (2, 5), reason='torch 2.4 cannot compile what is checkpointed')


@pytest.fixture
def backend(monkeypatch):
    """Set what compiles: a counter of compilations unless a test asks for another."""

    def use(name):
        torch._dynamo.reset()
        module.compiled.cache_clear()
        monkeypatch.setattr(torch, 'compile', partial(original, backend=name))
        return name

    original, counter = torch.compile, CompileCounter()
    use(counter)
    yield counter, use
    torch._dynamo.reset()
    module.compiled.cache_clear()


def nepa(compile=True, **kwargs):
    torch.manual_seed(0)
    return randomize(NEPA(NEPAViT(**{**TINY, **kwargs}, compile=compile), head=NextEmbeddingLoss(compile=compile))).train()


def step(model, images=IMAGES, low=False):
    """Losses and all gradients, under one seed."""
    torch.manual_seed(1)
    model.zero_grad()
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=low):
        losses = model.loss(images)
    losses['loss'].backward()
    return {**losses, **{name: p.grad for name, p in model.named_parameters()}}


def assert_alike(one, other, tolerance):
    for name, expected in other.items():
        scale = max(1e-3, expected.abs().max().item())
        torch.testing.assert_close(one[name], expected, atol=tolerance * scale, rtol=0, msg=name)


def test_no_graph_breaks():
    model = nepa(compile=False, drop_path_rate=0.3)
    for function, args in [(model.backbone.layers[1].transform, (torch.randn(2, 17, 16), torch.randn(17, 1, 16), True, None)),
                           (model.backbone.layers[1], (torch.randn(2, 17, 16), torch.randn(17, 1, 16), True)),
                           (model.backbone.embed, (IMAGES, )),
                           (model.head, (torch.randn(2, 17, 16), torch.randn(2, 17, 16))),
                           (model.loss, (IMAGES, ))]:  # the whole of it, rotations and all
        torch._dynamo.reset()
        found = torch._dynamo.explain(function)(*args)
        assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


@pytest.mark.parametrize('kwargs', [TINY, DEEP])
def test_fifty_steps_compile_the_block_and_the_loss_once(kwargs, backend):
    """Coordinates are scaled by another factor in each step."""
    counter, _ = backend
    model = nepa(**kwargs)
    losses = {step(model)['loss'].item()}
    compiled_at_first = counter.frame_count
    assert compiled_at_first == (3 if kwargs is DEEP else 2)  # the first block has no stochastic depth
    for seed in range(49):
        torch.manual_seed(seed)
        losses.add(model.loss(IMAGES)['loss'].item())
    assert counter.frame_count == compiled_at_first and len(losses) > 40


def test_evaluation_is_not_compiled(backend):
    counter, _ = backend
    model, plain = nepa().eval(), nepa(compile=False).eval()
    for size in (28, 35, 42):
        images = torch.randn(2, 3, size, size)
        assert torch.equal(model.backbone(images)[0], plain.backbone(images)[0])
        assert torch.equal(model(images, mode='loss')['loss'], plain(images, mode='loss')['loss'])
    assert counter.frame_count == 0
    frozen = NEPAViT(**TINY, compile=True, frozen_stages=3).train()
    frozen(IMAGES)
    assert counter.frame_count == 0


def test_a_batch_that_is_not_full_or_of_another_size_trains(backend):
    counter, _ = backend
    model, plain = nepa(rope=dict(rescale=None)), nepa(compile=False, rope=dict(rescale=None))
    for shape in [(4, 3, 28, 28), (3, 3, 28, 28), (4, 3, 35, 28), (2, 3, 42, 42), (4, 3, 28, 28), (5, 3, 49, 21)]:
        images = torch.randn(shape)
        assert_alike(step(model, images), step(plain, images), 1e-5)
    assert counter.frame_count <= 6  # what is compiled second takes any size


@pytest.mark.parametrize('kwargs', [dict(), dict(drop_path_rate=0.3), pytest.param(dict(
    with_cp=True, drop_path_rate=0.3), marks=recomputes), dict(
    with_cls_token=False, use_abs_pos_embed=True, act='silu', gated_mlp=True)])
@pytest.mark.parametrize('low, tolerance', [(False, 1e-5), (True, 5e-2)])
def test_numbers_are_those_of_the_plain_path(kwargs, low, tolerance, backend):
    """bfloat16 has 8 bits: where operations are fused, intermediate results are not rounded to it."""
    backend[1]('aot_eager')
    assert_alike(step(nepa(**kwargs), low=low), step(nepa(compile=False, **kwargs), low=low), tolerance)


def test_numbers_of_the_real_compiler_are_those_of_the_plain_path(backend):
    """A block alone: on a CPU, C++ compilers are slow."""
    backend[1]('inductor')
    results = []
    for compile in (True, False):
        torch.manual_seed(0)
        block = randomize(Block(16, 2, 32, 'plain', True, 'gelu', False, 1e-5, 0., 1e-12, compile)).train()
        x, rope = torch.randn(2, 17, 16, requires_grad=True), rotations_of_all(torch.randn(16, 16), 1)
        out = block(x, rope, True)
        out.square().sum().backward()
        results.append(dict(out=out, x=x.grad, **{name: p.grad for name, p in block.named_parameters()}))
    assert_alike(*results, 1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('low, tolerance', [(False, 1e-4), (True, 5e-2)])
def test_numbers_of_the_real_compiler_on_a_gpu(low, tolerance, backend):
    backend[1]('inductor')
    same = dict(rope=dict(rescale=None))
    assert_alike(step(nepa(**same).cuda(), IMAGES.cuda(), low), step(nepa(compile=False, **same).cuda(), IMAGES.cuda(), low),
                 tolerance)


@needs_golden
@pytest.mark.parametrize('case', GOLDEN_PRETRAINING)
@pytest.mark.parametrize('low, tolerance', [(False, 1e-5), (True, 1e-2)])
def test_a_compiled_step_has_the_release_s_loss_and_gradients(case, low, tolerance, backend):
    """On a GPU by the real compiler. float32 as the plain path; bfloat16: loss within 0.01, gradients within a tenth."""
    device, compiler = ('cuda', 'inductor') if torch.cuda.is_available() else ('cpu', 'aot_eager')
    backend[1](compiler)
    tensors = golden_tensors(case)
    model = get_model(f'hf:{GOLDEN / case}', compile=True, rope=dict(rescale=None)).train().to(device)
    model.head.compiled = True
    loss = step(model, tensors['pixel_values'].to(device), low)['loss']
    assert abs(loss.item() - tensors['loss'].item()) < tolerance
    assert_golden_gradients(model, tensors, 0.1 if low else 1e-4)


def test_what_a_compiled_block_keeps_for_the_backward_pass(backend):
    """Of an image, tensors [L, D] in bfloat16: 3 for qkv, 3 for rotated queries, keys and attention's output, 2 x 4 around GELU,
    one for each norm's and branch's output; and the block's input in float32. So 97 MB for ViT-B at 224 pixels."""
    backend[1]('aot_eager_decomp_partition')
    tokens, dims = 65, 32
    block = Block(dims, 1, 4 * dims, 'plain', True, 'gelu', False, 1e-5, 0., 1e-12, True).train()
    rope, parameters = rotations_of_all(torch.randn(64, 2 * dims), 1), {p.data_ptr() for p in block.parameters()}

    def kept(images):
        sizes = {}

        def keep(tensor):
            if tensor.untyped_storage().data_ptr() not in parameters:
                sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        x = torch.randn(images, tokens, dims, requires_grad=True)
        with torch.autocast('cpu', torch.bfloat16):
            block(x, rope, True)  # is compiled; torch 2.4 would give the hooks what it only traces
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast('cpu', torch.bfloat16):
            out = block(x, rope, True)
        return sum(sizes.values()), out  # while what is kept is alive, no address is used twice

    grows = (kept(6)[0] - kept(2)[0]) / 4
    assert grows / (2 * tokens * dims) == pytest.approx(20, abs=0.5)


def test_names_copies_and_pickles(backend):
    model, plain = nepa(), nepa(compile=False)
    assert list(model.state_dict()) == list(plain.state_dict())
    average = copy.deepcopy(model)  # as EMAHook makes it
    step(model)
    again = pickle.loads(pickle.dumps(model))
    assert_alike(step(average), step(plain), 1e-5)
    assert_alike(step(again), step(plain), 1e-5)
    assert Counter(type(part) for part in model.modules()) == Counter(type(part) for part in plain.modules())


def test_without_a_compiler_one_line_says_so(backend, monkeypatch):
    monkeypatch.setenv('PATH', '/nowhere')
    model = nepa()
    with pytest.raises(ConfigError, match=r'^it needs a C.. compiler, .* \| compile \| '
                                          r'install it or set TORCH_COMPILE_DISABLE=1$'):
        model.loss(IMAGES)
    model.eval().loss(IMAGES)
    monkeypatch.setenv('TORCH_COMPILE_DISABLE', '1')
    assert_alike(step(nepa()), step(nepa(compile=False)), 0)


def test_checkpointed_blocks_are_refused_where_torch_cannot_compile_them(monkeypatch):
    monkeypatch.setattr(torch, '__version__', TorchVersion('2.4.1'))
    with pytest.raises(ConfigError, match=r'^True together with with_cp=True fails in torch 2.4.1 \| compile \| '
                                          r'set model.backbone'):
        NEPAViT(**TINY, compile=True, with_cp=True)
    NEPAViT(**TINY, with_cp=True)
    monkeypatch.setenv('TORCH_COMPILE_DISABLE', '1')
    NEPAViT(**TINY, compile=True, with_cp=True)


def test_errors_stay_one_line(backend):
    with pytest.raises(ConfigError, match='^an image of 1 token has no next one'):
        NextEmbeddingLoss(compile=True).train()(torch.randn(2, 1, 8), torch.randn(2, 1, 8))


@pytest.mark.parametrize('loss', [
    MultiEmbeddingLoss(16, num_predictions=3, distance='infonce'), MultiEmbeddingLoss(16, distance='mse', stop_grad=False),
    SIGReg(num_projections=8)], ids=['infonce of 3', 'mse', 'SIGReg'])
def test_losses_after_nepa_compile_as_one_graph_to_the_same_numbers(loss):
    """Directions of SIGReg are the same in both, as graphs that are not made into kernels draw them from torch itself."""
    p, z = torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    results = []
    plain = type(loss).forward.__wrapped__
    for forward in (plain, torch.compile(plain, backend='eager', fullgraph=True)):
        torch.manual_seed(0)
        results.append(forward(loss, p, z))
    assert results[0].keys() == results[1].keys()
    for name, number in results[0].items():
        torch.testing.assert_close(results[1][name], number, msg=name)
