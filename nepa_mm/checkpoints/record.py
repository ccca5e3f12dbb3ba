"""What a checkpoint says about itself. Its config text is data: parsed, never executed."""
import ast
import json
import math
import re
from pathlib import Path

from nepa_mm.errors import CheckpointError
from nepa_mm.hosts.type_names import name_types_in_text
from nepa_mm.version import __version__

# What pickles keep under meta and safetensors, whose header takes text alone, as JSON
KEY = 'nepa_mm'
# The one import that may stand in a config: ours, of operators for detectors
OPERATORS = dict(imports=['nepa_mm.ops'], allow_failed_imports=False)


def record(weights: str, **facts) -> dict:
    """Facts about weights: version, which they are ('raw', 'ema', ...), variant, source and digests, ..."""
    return dict(version=__version__, weights=weights, **facts)


def facts_in(meta) -> dict:
    """The record that ``meta`` of a checkpoint holds; empty if there is none."""
    facts = meta.get(KEY) if isinstance(meta, dict) else None
    return facts if isinstance(facts, dict) else {}


def check_kind(meta: dict | None, ema: bool) -> None:
    """CheckpointError if the average is asked for and these weights are not known to be it, or the raw ones and these are not."""
    is_average = facts_in(meta).get('weights') == 'ema'
    if ema and not is_average:
        raise CheckpointError('it holds no averaged weights; it was trained without EMAHook, or these are its raw ones alone',
                              'its weights', 'leave ema: (--ema) out to take them')
    if is_average and not ema:
        raise CheckpointError('it holds the averaged weights alone', 'its weights', 'take them by path or ema: (--ema)')


def to_header(meta: dict) -> dict[str, str]:
    """``meta`` as JSON for the header of safetensors; 'format' is what Hugging Face's loaders ask for."""
    try:
        text = json.dumps(meta, default=lambda value: value.tolist() if hasattr(value, 'tolist') else str(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f'{list(meta)} cannot be written as JSON ({error})', 'its meta',
                              'leave out what is no plain data') from error
    return {'format': 'pt', KEY: text}


def from_header(metadata: dict[str, str]) -> dict:
    """The inverse; empty for safetensors that others wrote."""
    try:
        meta = json.loads(metadata.get(KEY, '{}'))
    except (ValueError, RecursionError):
        meta = {}
    return meta if isinstance(meta, dict) else {}


def published_name(address: str) -> str:
    """An address as others get it: of the hub and the web as it is, of a place on this machine the name alone."""
    place = address.removeprefix('raw:').removeprefix('ema:')
    return place if re.match('hf:[^/.~]|https?:', place) else Path(place).name


def without_places(text: str) -> str:
    """A config text whose absolute paths, which are this machine's, are names alone; as it is if it has none."""
    settings = config_from_text(text)
    named = names_for_places(settings)
    return text if named == settings else config_text(named)


def names_for_places(value):
    """A copy of plain data with the last name of each absolute path."""
    if isinstance(value, dict):
        return {names_for_places(key): names_for_places(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(names_for_places, value))
    return published_name(value) if isinstance(value, str) and re.match(r'(raw:|ema:)?(hf:|file:)?(/|~)', value) else value


def config_text(config: dict) -> str:
    """A config of plain data as the text of a config file."""
    return ''.join(f'{name} = {text_of(value)}\n' for name, value in config.items())


def text_of(value) -> str:
    """A literal of plain data; numbers without bounds as mmengine can read them."""
    if isinstance(value, dict):
        return '{' + ', '.join(f'{key!r}: {text_of(inner)}' for key, inner in value.items()) + '}'
    if isinstance(value, list):
        return '[' + ', '.join(map(text_of, value)) + ']'
    if isinstance(value, tuple):
        return '(' + ''.join(f'{text_of(inner)}, ' for inner in value) + ')'
    return f'float({str(value)!r})' if isinstance(value, float) and not math.isfinite(value) else repr(value)


def config_from_text(text: str) -> dict:
    """The settings of a config text that are plain data; nothing in it is executed, and what is no data is left out.

    Types that are written as paths have their names, as everywhere.
    """
    return name_types_in_text(settings_in(text)[0])


def plain_config_text(text: str) -> str:
    """The text itself if all of it is plain data, else a text of that part: mmengine's inferencers execute what they find.

    Data may make mmengine execute files and import modules, or fill in ``{{NAME}}``, in comments too: that part goes as well,
    but for our own operators.
    """
    settings, is_plain = settings_in(text)
    kept = {name: value for name, value in settings.items()
            if name != '_base_' and (name != 'custom_imports' or value == OPERATORS) and '{{' not in repr(value)}
    return text if is_plain and '{{' not in text and len(kept) == len(settings) else config_text(kept)


def settings_in(text: str) -> tuple[dict, bool]:
    """Settings that are plain data, and whether there is nothing else."""
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}, False
    settings = {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
            try:
                value = ast.literal_eval(Literals().visit(statement.value))
                repr(value)  # which a number of thousands of digits has not
                settings[statement.targets[0].id] = value
            except (ValueError, TypeError, RecursionError, MemoryError):
                pass
    return settings, len(settings) == len(statements)


class Literals(ast.NodeTransformer):
    """Literals for what configs write as calls: ``dict(key=value)``, ``dict({11: 255})``, and numbers without bounds."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(float(node.id)) if node.id in ('inf', 'nan') else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        match self.generic_visit(node):
            case ast.Call(ast.Name('float'), [ast.Constant('inf' | '-inf' | 'nan' as number)], []):
                return ast.Constant(float(number))
            case ast.Call(ast.Name('dict'), [] | [ast.Dict()], named) if all(each.arg for each in named):
                first = node.args[0] if node.args else ast.Dict([], [])
                keys = [*first.keys, *(ast.Constant(each.arg) for each in named)]
                return ast.Dict(keys, [*first.values, *(each.value for each in named)])
        return node


def model_in(meta: dict | None) -> dict | None:
    """``model`` of the config that a checkpoint carries; None without one that has a backbone."""
    text = meta.get('cfg') if isinstance(meta, dict) else None
    model = config_from_text(text).get('model') if isinstance(text, str) else None
    return model if isinstance(model, dict) and isinstance(model.get('backbone'), dict) else None
