'use strict';
// Tokens of a model are counted from 0: first those before the patches (model.extra of them), then the patches, row by row.

const about = JSON.parse(document.getElementById('about').textContent);
const element = id => document.getElementById(id);
const state = {image: 0, first: 0, second: about.models.length > 1 ? 1 : -1, layer: 0, head: 'mean', token: 0, over: false, hover: null};
const colours = Object.fromEntries(Object.entries(about.colours).map(([name, list]) => [name, list.map(
  colour => [1, 3, 5].map(place => parseInt(colour.slice(place, place + 2), 16)))]));
const pictures = about.images.map(({picture}) => {
  const image = new Image();
  image.src = picture;
  return image;
});

// Data

const unpacked = new Map();

/** Bytes of a packed element; kept, because a page is looked at back and forth. */
function unpack(id) {
  if (!unpacked.has(id)) {
    const bytes = Uint8Array.from(atob(element(id).textContent), character => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
    unpacked.set(id, new Response(stream).arrayBuffer());
  }
  return unpacked.get(id);
}

const patchCount = model => model.grid[0] * model.grid[1];
const tokenCount = model => model.extra + patchCount(model);

/** What a model shows of a layer and head: those asked for, or the nearest that the page holds. */
function shown(model) {
  const layer = model.layers.reduce((best, next) => Math.abs(next - state.layer) < Math.abs(best - state.layer) ? next : best);
  const single = model.with_heads.includes(layer) && state.head !== 'mean' && state.head < model.heads;
  return {layer, head: single ? state.head : 'mean'};
}

/** Attention of a token: its share for each patch, the most of them, the share of the tokens before the patches. */
async function attention(m, token) {
  const model = about.models[m], {layer, head} = shown(model), patches = patchCount(model), tokens = tokenCount(model);
  const buffer = await unpack(`${head === 'mean' ? 'mean' : 'heads'}-${m}-${state.image}-${layer}`);
  const row = (head === 'mean' ? 0 : head) * tokens + token, maps = head === 'mean' ? 1 : model.heads;
  const [most, extra] = new Uint16Array(buffer, row * 4, 2);
  const levels = new Uint8Array(buffer, maps * tokens * 4 + row * patches, patches);
  return {values: Array.from(levels, level => level / about.levels), most: most / about.share, extra: extra / about.share};
}

/** Cosine of what a token predicts with every patch. */
async function similarity(m, token) {
  const patches = patchCount(about.models[m]);
  const values = new Int8Array(await unpack(`similarity-${m}-${state.image}`), token * patches, patches);
  return Array.from(values, value => value / 127);
}

// Places. A place is [y, x] in shares of the image, so that models with other patches understand it.

const rowAndColumn = (model, patch) => [Math.floor(patch / model.grid[1]), patch % model.grid[1]];
const words = (model, patch) => 'row ' + rowAndColumn(model, patch).join(', column ');

function patchAt(model, [y, x]) {
  const [row, column] = [y / model.patch[0], x / model.patch[1]].map((place, axis) =>
    Math.min(Math.max(Math.floor(place), 0), model.grid[axis] - 1));
  return row * model.grid[1] + column;
}

function centre(model, patch) {
  return rowAndColumn(model, patch).map((index, axis) => Math.min((index + 0.5) * model.patch[axis], 1 - 1e-6));
}

/** The token of another model for the query of the first. */
function tokenOf(m) {
  const model = about.models[m], first = about.models[state.first], patch = state.token - first.extra;
  if (m === state.first) return state.token;
  return patch < 0 ? 0 : model.extra + patchAt(model, centre(first, patch));
}

/** The patch after a token, where a model was trained to predict it; else -1. */
function nextPatch(model, token) {
  const patch = token - model.extra + 1;
  return model.predicts && model.causal && patch < patchCount(model) ? patch : -1;
}

// Drawing

const pens = {  // colour, width and dashes in CSS pixels, the dark rim first
  query: [['rgba(0,0,0,.75)', 4, []], ['#ff3b5c', 2, []]],
  next: [['rgba(0,0,0,.75)', 4, []], ['#ffffff', 2, [4, 3]]],
  hover: [['rgba(0,0,0,.6)', 2.5, []], ['#ffffff', 1, []]],
};

/** Fit a canvas to the pixels that it covers on the screen, and clear it; all drawing is in these pixels. */
function prepared(canvas) {
  const ratio = window.devicePixelRatio || 1, size = [canvas.clientWidth, canvas.clientHeight].map(side => Math.round(side * ratio));
  [canvas.width, canvas.height] = size;
  return {context: canvas.getContext('2d'), width: size[0], height: size[1], ratio};
}

/** Left, top, width and height of a patch in whole pixels, so that no seam shows between two. */
function box({width, height}, model, patch) {
  const [row, column] = rowAndColumn(model, patch), [tall, wide] = model.patch;
  const [left, right] = [column, column + 1].map(index => Math.round(index * wide * width));
  const [top, bottom] = [row, row + 1].map(index => Math.round(index * tall * height));
  return [left, top, right - left, bottom - top];
}

function outline(area, model, patch, pen) {
  if (patch < 0) return;
  const [x, y, wide, tall] = box(area, model, patch), {context} = area;
  const ratio = area.ratio * Math.min(1, wide / area.ratio / 18);  // finer on small patches
  for (const [colour, lineWidth, dash] of pens[pen]) {
    Object.assign(context, {strokeStyle: colour, lineWidth: lineWidth * ratio});
    context.setLineDash(dash.map(length => length * ratio));
    context.strokeRect(x + ratio, y + ratio, wide - 2 * ratio, tall - 2 * ratio);
  }
  context.setLineDash([]);
}

function outlineAll(area, model, token, withNext) {
  if (withNext) outline(area, model, nextPatch(model, token), 'next');
  outline(area, model, token - model.extra, 'query');
  if (state.hover) outline(area, model, patchAt(model, state.hover), 'hover');
}

const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isUnseen = (model, patch, token) => model.causal && patch > token - model.extra;

function drawPicture(canvas, model, token) {
  const area = prepared(canvas), {context, width, height} = area;
  context.drawImage(pictures[state.image], 0, 0, width, height);
  context.fillStyle = `rgb(${style('--veil')} / .72)`;
  for (let patch = 0; patch < patchCount(model); patch++) {
    if (isUnseen(model, patch, token)) context.fillRect(...box(area, model, patch));
  }
  outlineAll(area, model, token, true);
}

/** Values [T] in 0..1 by a colour map; unseen patches hatched. */
function drawMap(canvas, model, token, values, map, withNext) {
  const area = prepared(canvas), {context, width, height} = area;
  if (state.over) {
    context.filter = 'grayscale(1)';
    context.drawImage(pictures[state.image], 0, 0, width, height);
    context.filter = 'none';
  }
  context.globalAlpha = state.over ? 0.6 : 1;
  values.forEach((value, patch) => {
    if (map === 'attention' && isUnseen(model, patch, token)) {
      context.fillStyle = style('--unseen');
    } else {
      context.fillStyle = `rgb(${colours[map][Math.round(Math.min(Math.max(value, 0), 1) * 255)].join(' ')})`;
    }
    context.fillRect(...box(area, model, patch));
  });
  context.globalAlpha = 1;
  outlineAll(area, model, token, withNext);
}

const percent = share => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
const indexOfMost = values => values.reduce((best, value, index) => value > values[best] ? index : best, 0);

function sayAttention(model, token, {values, most, extra}) {
  if (state.hover) {
    const patch = patchAt(model, state.hover);
    return isUnseen(model, patch, token) ? `${words(model, patch)}: not seen yet`
      : `${words(model, patch)}: ${percent(values[patch] * most)}`;
  }
  const cls = model.extra ? `[CLS]: ${percent(extra)}` : '';
  return most === 0 ? cls : [`Most: ${words(model, indexOfMost(values))}, ${percent(most)}`, cls].filter(Boolean).join('. ');
}

function saySimilarity(model, token, values) {
  if (state.hover) {
    const patch = patchAt(model, state.hover);
    return `${words(model, patch)}: ${values[patch].toFixed(2)}`;
  }
  const next = nextPatch(model, token), most = indexOfMost(values);
  return (next < 0 ? '' : `Next patch: ${values[next].toFixed(2)}. `) + `Most: ${words(model, most)}, ${values[most].toFixed(2)}`;
}

function sayPlace(model, token) {
  const patch = token - model.extra, next = nextPatch(model, token), total = patchCount(model);
  const predicts = next < 0 ? '' : `, predicts ${words(model, next)}`;
  if (patch < 0) return model.causal ? `No patch seen${predicts}` : 'Query: [CLS]';
  return model.causal ? `Seen ${patch + 1} of ${total}${predicts}` : `Query: ${words(model, patch)}`;
}

// The stage: a picture and two panels for each checkpoint

let panels = [];

function panel(kind, m, title) {
  const figure = document.createElement('figure'), scale = kind === 'picture' ? '' : '<div class="scale"><span></span><i></i><span></span></div>';
  figure.className = kind;
  figure.innerHTML = `<figcaption><b>${title}</b><span></span></figcaption><canvas></canvas>${scale}<p class="says"></p>`;
  const canvas = figure.querySelector('canvas'), image = pictures[state.image];
  canvas.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
  const place = event => {
    const area = canvas.getBoundingClientRect();
    return [(event.clientY - area.top) / area.height, (event.clientX - area.left) / area.width];
  };
  canvas.addEventListener('click', event => {
    stop();
    const model = about.models[state.first];
    go(model.extra + patchAt(model, place(event)));
  });
  canvas.addEventListener('pointermove', event => {
    if (event.pointerType === 'touch') return;  // a finger hides what it points at
    state.hover = place(event);
    draw();
  });
  canvas.addEventListener('pointerleave', () => {
    state.hover = null;
    draw();
  });
  if (kind === 'picture') {
    Object.assign(canvas, {tabIndex: 0});
    for (const [name, value] of Object.entries({role: 'slider', 'aria-label': 'Query patch', 'aria-valuemin': 0})) {
      canvas.setAttribute(name, value);
    }
  } else {
    canvas.setAttribute('role', 'img');
    const list = about.colours[kind];
    figure.querySelector('i').style.background = `linear-gradient(90deg, ${list.filter((_, i) => i % 15 === 0).join(', ')})`;
  }
  return {kind, m, figure, canvas, caption: figure.querySelector('figcaption span'), says: figure.querySelector('.says'),
          scale: figure.querySelectorAll('.scale span')};
}

function build() {
  const compared = [state.first, state.second].filter(m => m >= 0);
  panels = [panel('picture', state.first, 'Query')];
  for (const m of compared) {
    panels.push(panel('attention', m, 'Attention'));
    panels.push(panel('similarity', m, about.models[m].predicts ? 'Similarity' : 'Similarity of outputs'));
  }
  element('stage').className = compared.length > 1 ? 'two' : 'one';
  element('stage').replaceChildren(...panels.map(({figure}) => figure));
}

let turn = 0;

/** Draw the state. Maps may have to be unpacked first; a later call overtakes. */
async function draw() {
  const mine = ++turn, first = about.models[state.first];
  const results = await Promise.all(panels.map(({kind, m}) =>
    kind === 'attention' ? attention(m, tokenOf(m)) : kind === 'similarity' ? similarity(m, tokenOf(m)) : null));
  if (mine !== turn) return;
  panels.forEach(({kind, m, canvas, caption, says, scale}, index) => {
    const model = about.models[m], token = tokenOf(m), result = results[index];
    if (kind === 'picture') {
      drawPicture(canvas, model, token);
      caption.textContent = about.images[state.image].name;
      says.textContent = state.hover ? words(model, patchAt(model, state.hover)) : '';
      canvas.setAttribute('aria-valuemax', tokenCount(model) - 1);
      canvas.setAttribute('aria-valuenow', token);
      canvas.setAttribute('aria-valuetext', sayPlace(model, token));
      return;
    }
    const {layer, head} = shown(model), name = state.second < 0 ? '' : index < 3 ? 'A, ' : 'B, ';
    if (kind === 'attention') {
      drawMap(canvas, model, token, result.values, kind, false);
      caption.textContent = `${name}layer ${layer}, ${head === 'mean' ? 'mean of heads' : `head ${head}`}`;
      says.textContent = sayAttention(model, token, result);
      scale[0].textContent = '0';
      scale[1].textContent = percent(result.most);
    } else {
      drawMap(canvas, model, token, result.map(value => (value + 1) / 2), kind, true);
      caption.textContent = `${name}cosine with each patch`;
      says.textContent = saySimilarity(model, token, result);
      scale[0].textContent = '\u22121';
      scale[1].textContent = '1';
    }
    canvas.title = model.name;
    canvas.setAttribute('aria-label', `${kind}, ${caption.textContent}. ${says.textContent}`);
  });
  element('step').value = state.token;
  element('step').setAttribute('aria-valuetext', sayPlace(first, state.token));
  element('place').textContent = sayPlace(first, state.token);
  speak();
  document.body.dataset.drawn = [state.image, state.first, state.second, state.layer, state.head, state.token, state.over].join(' ');
}

let waiting = 0;

/** For screen readers, once the query rests. */
function speak() {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    element('spoken').textContent = panels.filter(({kind}) => kind !== 'picture').map(({says}) => says.textContent).join('. ');
  }, 600);
}

// Choices

function chips(id, name, values, checked, disabled, choose) {
  element(id).replaceChildren(...values.map(value => {
    const label = document.createElement('label');
    label.innerHTML = `<input type="radio" name="${name}" value="${value}"><span>${value}</span>`;
    const input = label.firstChild;
    Object.assign(input, {checked: value === checked, disabled: disabled(value)});
    input.setAttribute('aria-label', `${name} ${value}`);
    input.addEventListener('change', () => choose(value));
    return label;
  }));
}

/** Offer what the first checkpoint has, and draw. */
function offer() {
  const model = about.models[state.first], {layer, head} = shown(model), hasHeads = model.with_heads.includes(layer);
  chips('layers', 'layer', model.layers, layer, () => false, value => set({layer: value}));
  chips('heads', 'head', ['mean', ...Array(model.heads).keys()], head, value => value !== 'mean' && !hasHeads,
        value => set({head: value}));
  element('no-heads').hidden = hasHeads;
  element('no-heads').textContent = model.with_heads.length
    ? `Single heads of this layer are not in this page; those of layers ${[...model.with_heads].sort((a, b) => a - b).join(', ')} are.`
    : 'This page holds the mean of heads alone.';
  Object.assign(element('step'), {max: tokenCount(model) - 1});
  for (const [index, button] of [...element('images').children].entries()) button.setAttribute('aria-pressed', index === state.image);
  element('over').checked = state.over;
  element('first').value = state.first;
  element('second').value = state.second;
  draw();
}

/** Change the state by a choice, keeping the focus on what made it. */
function set(changes) {
  const {name, value} = document.activeElement || {}, old = {...state};
  if ('first' in changes) {  // the same place in a model that may have other patches
    const place = state.token - about.models[old.first].extra;
    const model = about.models[changes.first];
    state.token = place < 0 ? 0 : model.extra + patchAt(model, centre(about.models[old.first], place));
  }
  Object.assign(state, changes);
  if (state.first !== old.first || state.second !== old.second || state.image !== old.image) build();
  offer();
  if (name) document.querySelector(`input[name="${name}"]:checked`)?.focus();
}

function go(token) {
  state.token = Math.min(Math.max(token, 0), tokenCount(about.models[state.first]) - 1);
  draw();
}

function cycle(list, current, by) {
  return list[(list.indexOf(current) + by + list.length) % list.length];
}

// Playing the order

let timer = 0;

function stop() {
  clearInterval(timer);
  timer = 0;
  element('play').classList.remove('playing');
  element('play').setAttribute('aria-label', 'Play');
}

function play() {
  if (timer) return stop();
  const last = tokenCount(about.models[state.first]) - 1;
  if (state.token >= last) go(0);
  element('play').classList.add('playing');
  element('play').setAttribute('aria-label', 'Stop');
  timer = setInterval(() => {  // a whole image in 20 seconds, but a patch for no longer than a quarter of one
    if (state.token >= last) return stop();
    go(state.token + 1);
  }, Math.min(250, 20000 / last));
}

function keyPressed(event) {
  const pressed = event.target.matches('button, summary, [type=checkbox]');  // by Space, and arrows mean nothing to it
  const typing = pressed ? event.key === ' ' : event.target.matches('input, select');
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const model = about.models[state.first], {layer, head} = shown(model), by = event.shiftKey ? -1 : 1, patch = state.token - model.extra;
  const column = patch % model.grid[1], columns = model.grid[1];
  const inGrid = {
    ArrowLeft: () => column !== 0 && go(state.token - 1), ArrowRight: () => column < columns - 1 && go(state.token + 1),
    ArrowUp: () => patch >= columns && go(state.token - columns),
    ArrowDown: () => go(patch < 0 ? model.extra : patch + columns < patchCount(model) ? state.token + columns : state.token),
    Home: () => go(model.extra), End: () => go(tokenCount(model) - 1), ' ': play,
  };
  const anywhere = {
    ',': () => go(state.token - 1), '.': () => go(state.token + 1), o: () => set({over: !state.over}),
    l: () => set({layer: cycle(model.layers, layer, by)}),
    h: () => model.with_heads.includes(layer) && set({head: cycle(['mean', ...Array(model.heads).keys()], head, by)}),
    i: () => set({image: cycle([...pictures.keys()], state.image, by)}),
  };
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key, act = anywhere[key] || (!typing && inGrid[key]);
  if (!act || (event.target.matches('select') && key.length === 1)) return;
  event.preventDefault();
  if (key !== ' ') stop();
  act();
}

function start() {
  about.images.forEach(({name, picture}, image) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.title = name;
    button.append(Object.assign(new Image(), {src: picture, alt: name}));
    button.addEventListener('click', () => set({image}));
    element('images').append(button);
  });
  element('images').hidden = about.images.length < 2;
  about.models.forEach(({name}, m) => ['first', 'second'].forEach(id => element(id).append(new Option(name, m))));
  element('second').prepend(new Option('none', -1));
  for (const id of ['first', 'second']) element(`${id}-choice`).hidden = about.models.length < 2;
  element('models').textContent = about.models.map(({name}) => name).join(', ');
  for (const id of ['first', 'second']) element(id).addEventListener('change', event => set({[id]: Number(event.target.value)}));
  element('over').addEventListener('change', event => set({over: event.target.checked}));
  element('step').addEventListener('input', event => { stop(); go(Number(event.target.value)); });
  element('back').addEventListener('click', () => { stop(); go(state.token - 1); });
  element('forth').addEventListener('click', () => { stop(); go(state.token + 1); });
  element('play').addEventListener('click', play);
  document.addEventListener('keydown', keyPressed);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  new ResizeObserver(draw).observe(element('stage'));
  const model = about.models[0];
  state.layer = model.layers[model.layers.length - 1];
  state.token = model.extra + Math.floor(model.grid[0] / 2) * model.grid[1] + Math.floor(model.grid[1] / 2);
  build();
  offer();
}

if (typeof DecompressionStream === 'undefined') {
  element('stage').textContent = 'This browser is too old for the page: it needs Chrome or Edge 80, Firefox 113 or Safari 16.4.';
} else {
  Promise.all(pictures.map(image => image.decode())).then(start);
}
