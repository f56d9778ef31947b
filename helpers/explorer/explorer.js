/* Live figures: a trained network, run where it is looked at. No dependency, no request.

One module, two hosts. In a page it wakes every <aside class="live">; in JupyterLab anywidget calls
render({model, el}). Both hand over the file that training wrote (helpers/weights.py), which carries
what no browser can draw again: test images, a few noise vectors of torch's. Nothing moves by itself. */

// --- Numbers: needs no browser, and is tested without one ---------------------------------------

let halves; // the value of each of the 65,536 half-precision numbers
function widen(bits) {
  halves ??= Float32Array.from({ length: 65536 }, (_, half) => {
    const sign = half >> 15 ? -1 : 1, exponent = (half >> 10) & 31, rest = half & 1023;
    if (exponent === 31) return rest ? NaN : sign * Infinity;
    return sign * (exponent ? (1024 + rest) * 2 ** (exponent - 25) : rest * 2 ** -24);
  });
  return new Float32Array(bits).map((half) => halves[half]);
}

/** A safetensors file (Uint8Array): what it is about, and its tensors t, each with a shape. */
export function unpack(bytes) {
  const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(String.fromCharCode(...bytes.subarray(8, 8 + size)));
  const about = JSON.parse(header.__metadata__.about), t = {};
  delete header.__metadata__;
  for (const [name, { dtype, shape, data_offsets: ends }] of Object.entries(header)) {
    const raw = bytes.slice(...ends.map((end) => 8 + size + end));
    const read = { F16: () => widen(new Uint16Array(raw.buffer)), F32: () => new Float32Array(raw.buffer), U8: () => raw };
    t[name] = Object.assign(read[dtype]?.() ?? {}, { shape });
  }
  return { about, t };
}

const relu = (v) => Math.max(0, v);

/** Transposed convolution of x (channels, side, side) by w (channels, out, k, k), then
    after(value, output channel): every pixel spreads a k x k patch over each output channel. About
    half of the channels are 0 after a ReLU and cost nothing; four at a time are three times as
    fast as one. */
function spread(x, w, after, stride = 1, pad = 0) {
  const [channels, out, k] = w.shape, area = x.length / channels, side = Math.sqrt(area);
  const n = out * k * k, wide = (side - 1) * stride - 2 * pad + k;
  const y = new Float32Array(out * wide * wide), patch = new Float32Array(n);
  for (let at = 0; at < area; at++) {
    const live = [], top = Math.floor(at / side) * stride - pad, left = (at % side) * stride - pad;
    for (let c = 0; c < channels; c++) if (x[c * area + at]) live.push(c);
    const value = (l) => (l < live.length ? x[live[l] * area + at] : 0), row = (l) => (live[l] ?? 0) * n;
    patch.fill(0);
    for (let l = 0; l < live.length; l += 4) {
      const p = value(l), q = value(l + 1), r = value(l + 2), s = value(l + 3);
      const a = row(l), b = row(l + 1), c = row(l + 2), d = row(l + 3);
      for (let j = 0; j < n; j++) patch[j] += p * w[a + j] + q * w[b + j] + r * w[c + j] + s * w[d + j];
    }
    for (let o = 0, j = 0; o < out; o++)
      for (let i = top; i < top + k; i++)
        for (let m = left; m < left + k; m++, j++)
          if (i >= 0 && i < wide && m >= 0 && m < wide) y[(o * wide + i) * wide + m] += patch[j];
  }
  return y.map((v, i) => after(v, Math.floor(i / (wide * wide))));
}

/** x -> after(W x), after(value, output's number). W (out, in) is turned once, to spread columns. */
function dense(w, after) {
  const [out, width] = w.shape, turned = Object.assign(new Float32Array(w.length), { shape: [width, out, 1] });
  for (let i = 0; i < w.length; i++) turned[(i % width) * out + Math.floor(i / width)] = w[i];
  return (x) => spread(x, turned, after);
}

/** What follows layer n of a generator: bias and tanh after the last, to [0, 1]; else BatchNorm
    with its running statistics, affine or not, and ReLU: (value, channel) -> value. */
function follow(t, name, n) {
  const end = t[`${name}.${n}.bias`], parts = ["running_mean", "running_var", "weight", "bias"];
  if (end) return (v, i) => (Math.tanh(v + end[i]) + 1) / 2;
  const [mean, variance, gamma, beta] = parts.map((part) => t[`${name}.${n + 1}.${part}`]);
  const scale = variance.map((v, i) => (gamma ? gamma[i] : 1) / Math.sqrt(v + 1e-5));
  const shift = scale.map((s, i) => (beta ? beta[i] : 0) - mean[i] * s);
  return (v, i) => relu(v * scale[i] + shift[i]);
}

/** {encode: x -> {mu, sigma}, decode: z -> image}; images are 784 numbers in [0, 1]. */
export function vae(t) {
  const layer = (name, f) => dense(t[`net.${name}.weight`], (v, i) => f(v + t[`net.${name}.bias`][i]));
  const hidden = layer("encoder.0", relu), mu = layer("mu", (v) => v), sigma = layer("logvar", (v) => Math.exp(v / 2));
  const inner = layer("decoder.0", relu), last = layer("decoder.2", (v) => 1 / (1 + Math.exp(-v)));
  const encode = (x) => { const h = hidden(x); return { mu: mu(h), sigma: sigma(h) }; };
  return { encode, decode: (z) => last(inner(z)) };
}

/** z -> image. */
export function gan(t) {
  const layers = [[1, 1, 0], [4, 2, 1], [7, 2, 1], [10, 2, 1]].map(([n, stride, pad]) => {
    const after = follow(t, "net", n);
    return (x) => spread(x, t[`net.${n}.weight`], after, stride, pad);
  });
  return (z) => layers.reduce((x, layer) => layer(x), z);
}

/** z and label (a number for each class; 3 at the one meant, as in training) -> image. */
export function cgan(t) {
  const layers = [];
  for (let n = 0; t[`net.layers.${n}.weight`]; n += 3)
    layers.push(dense(t[`net.layers.${n}.weight`], follow(t, "net.layers", n)));
  return (z, label) => layers.reduce((x, layer) => layer(x), [...z, ...label]);
}

const gray = (v) => Math.round(255 * v);
const mix = (a, b, share) => Array.from(a, (v, i) => v + share * (b[i] - v));
const rows = (values, n) => Array.from({ length: values.length / n }, (_, i) => Array.from(values.subarray(i * n, (i + 1) * n)));
const apart = (a, b) => a.reduce((sum, v, i) => sum + Math.abs(v - b[i]), 0) * (255 / a.length); // gray levels
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
const uniform = () => 2 * Math.random() - 1;

// --- Parts of a figure ---------------------------------------------------------------------------

function make(tag, props, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}
const div = (className, ...children) => make("div", { className }, ...children);
const button = (text, onclick) => make("button", { type: "button", onclick }, text);
const named = (node, text) => div("named", node, make("span", {}, text));

/** A canvas for one image; without a name it is decoration, or named by what holds it. */
const picture = (name, side = 28) => make("canvas", { width: side, height: side,
  ...(name ? { role: "img", ariaLabel: name } : { ariaHidden: "true" }) });

function paint(canvas, image, [x, y] = [0, 0]) {
  const dots = new ImageData(28, 28);
  image.forEach((v, i) => dots.data.set([gray(v), gray(v), gray(v), 255], 4 * i));
  canvas.getContext("2d").putImageData(dots, x, y);
  return canvas;
}

const slider = (name, [min, max, step], value, oninput) => make("input",
  { type: "range", min, max, step, value, ariaLabel: name, oninput: ({ target }) => oninput(+target.value) });
const line = (before, input, after = "") => make("label", { className: "line" }, before, input, after);

/** Pictures of which one is chosen: radio buttons, so that the arrow keys work. */
function picker(legend, canvases, names, chosen, choose) {
  const group = `live-${Math.random()}`;
  const options = canvases.map((canvas, i) => make("label", { title: names[i] },
    make("input", { type: "radio", name: group, checked: i === chosen, ariaLabel: names[i], onchange: () => choose(i) }), canvas));
  return make("fieldset", {}, make("legend", {}, legend), div("options", ...options));
}

/** A function that has draw(0), ..., draw(count - 1) called from the next frame on, as many a
    frame as 12 ms allow, then done(). Called again, it goes on in a circle: none has to wait. */
function inTurn(count, draw, done = () => {}) {
  let next = 0, left = 0, waiting = 0;
  const work = () => {
    const end = performance.now() + 12;
    for (; left && performance.now() < end; left--, next = (next + 1) % count) draw(next);
    waiting = left ? requestAnimationFrame(work) : 0;
    if (!left) done();
  };
  return () => { left = count; waiting ||= requestAnimationFrame(work); };
}

/** Where in a box a pointer is, from 0 to 1 across and down; down(at, first) while it is pressed. */
function onDrag(box, down) {
  box.onpointerdown = box.onpointermove = (event) => {
    const first = event.type === "pointerdown", { left, top, width, height } = box.getBoundingClientRect();
    if (first) box.setPointerCapture(event.pointerId), event.preventDefault();
    if (event.buttons) down([(event.clientX - left) / width, (event.clientY - top) / height], first);
  };
}

/** Bars of how much something changes from place to place, the highest as high as it gets. */
function bars(box, changes) {
  const most = Math.max(...changes) || 1;
  box.replaceChildren(...changes.map((v) => make("i", { title: `${v.toFixed(1)} gray levels`, style: `height: ${Math.max(4, (100 * v) / most)}%` })));
}

// --- The figures: (el, {about, t}, noise, share) -> a function that shows a z of the host's -----

function latents(el, { t }, noise, share) {
  const net = vae(t), size = t["net.mu.bias"].length, blank = new Float32Array(784);
  const images = t.images ? rows(t.images, 784).map((image) => image.map((v) => v / 255)) : [];
  const codes = images.map(net.encode), ends = [0, images.length - 1];
  const nats = ({ mu, sigma }, i) => (mu[i] * mu[i] + sigma[i] ** 2 - 1) / 2 - Math.log(sigma[i]);
  const kl = t.kl ?? Float32Array.from({ length: size }, (_, i) => codes.reduce((sum, q) => sum + nats(q, i) / codes.length, 0));
  const most = Math.max(...kl) || 1, order = [...kl.keys()].sort((i, j) => kl[j] - kl[i]).slice(0, 32), off = (i) => kl[i] < most / 20;
  let x, q, z, pen, drawn = 0; // left image; what the encoder says of it, unless it is a mixture; code shown
  const left = picture("left image"), right = picture("decoded code"), text = make("span"), note = make("output");
  const scales = order.map((i) => slider(`latent ${i + 1}${off(i) ? ", switched off" : ""}`,
    [-3, 3, 0.05], 0, (v) => { z = z.with(i, v); update(); }));
  const update = inTurn(1, () => {
    const decoded = net.decode(z), at = (v) => `${Math.min(100, Math.max(0, (v + 3) / 0.06))}%`;
    paint(left, x ?? blank), paint(right, decoded), share(z), (noisy.disabled = !q);
    order.forEach((i, n) => {
      scales[n].value = z[i];
      for (const s of [-2, 0, 2]) scales[n].style.setProperty(`--s${s}`, q ? at(q.mu[i] + s * q.sigma[i]) : "0%");
    });
    if (!q) return (note.value = x ? "Halfway there is no image to compare with." : "No image to compare with.");
    const error = x.reduce((sum, v, i) => sum + (v - decoded[i]) ** 2, 0);
    const cost = q.mu.reduce((sum, _, i) => sum + nats(q, i), 0);
    note.value = `squared error ${error.toFixed(1)} + KL ${cost.toFixed(1)} = ${(error + cost).toFixed(1)} nats`;
  });
  const set = (what, ...found) => { [x, q, z] = found, text.textContent = what; update(); };
  const encode = (what, image) => { const code = net.encode(image); set(what, image, code, Array.from(code.mu)); };
  const prior = () => set("no image", null, null, noise[drawn++] ?? noise[0].map(normal));
  const noisy = button("add noise: μ + σε", () => set(text.textContent, x, q, Array.from(q.mu, (m, i) => m + q.sigma[i] * normal())));
  const way = slider("how far from A to B", [0, 1, 0.01], 0, slide);
  function slide() {
    const [a, b] = ends.map((k) => codes[k]), s = +way.value;
    set({ 0: "image A", 1: "image B" }[s] ?? "mixed pixels", mix(images[ends[0]], images[ends[1]], s), { 0: a, 1: b }[s], mix(a.mu, b.mu, s));
  }
  onDrag(left, ([u, v], first) => {
    const image = Float32Array.from(x ?? blank), [px, py] = [28 * u, 28 * v];
    if (first) pen = image[Math.floor(py) * 28 + Math.floor(px)] > 0.4 ? 0 : 1; // not as it is
    image.forEach((_, i) => { if (Math.hypot((i % 28) + 0.5 - px, Math.floor(i / 28) + 0.5 - py) < 1.3) image[i] = pen; });
    encode("your drawing", image);
  });
  const choice = ["Image A", "Image B"].map((legend, k) => picker(legend, images.map((image) => paint(picture(), image)),
    images.map((_, i) => `image ${i + 1}`), ends[k], (i) => { ends[k] = i; way.value = k; slide(); }));
  el.append(
    ...(images.length > 2 ? [div("two", ...choice)] : []), ...(images.length > 1 ? [line("A", way, "B")] : []),
    div("stage", named(left, text),
      make("fieldset", { className: "codes", style: `--rows: ${Math.ceil(order.length / 2)}` },
        make("legend", {}, "code z, sorted by KL"),
        ...order.map((i, n) => make("label", { className: off(i) ? "off" : "", title: `KL of latent ${i + 1}: ${kl[i].toFixed(2)} nats on average` },
          make("span", {}, i + 1), scales[n], make("i", { style: `--share: ${(100 * kl[i]) / most}%` })))),
      named(right, "decoded code")),
    div("buttons",
      button("mean μ", () => (q ? set(text.textContent, x, q, Array.from(q.mu)) : x && slide())),
      noisy,
      button("draw from the prior", prior),
      button("turn the image upside down", () => encode("upside down", Float32Array.from(x ?? blank).reverse()))),
    note);
  images.length ? slide() : prior();
  return (sent) => { z = sent; update(); };
}

/** The film of the noise vectors, a PNG with a row of images for each epoch, and a slider for the epoch. */
async function film(box, png) {
  const strip = await createImageBitmap(new Blob([png], { type: "image/png" })), { width, height } = strip;
  const reel = make("canvas", { width, height }).getContext("2d", { willReadFrequently: true }), epochs = height / 28, half = width / 2;
  reel.drawImage(strip, 0, 0);
  const frames = Array.from({ length: epochs }, (_, n) => reel.getImageData(0, 28 * n, width, 28).data.filter((_, i) => i % 4 === 0));
  const change = frames.map((frame, n) => (n ? apart(frame, frames[n - 1]) / 255 : 0)); // in gray levels already
  const view = make("canvas", { width: half, height: 56, role: "img" }), gaps = div("gaps"), note = make("output");
  const scale = slider("epoch", [1, epochs, 1], epochs, show);
  function show(epoch) {
    const now = view.getContext("2d");
    for (const k of [0, 1]) now.drawImage(reel.canvas, k * half, 28 * (epoch - 1), half, 28, 0, 28 * k, half, 28);
    note.value = `epoch ${epoch}${epoch > 1 ? `, ${change[epoch - 1].toFixed(1)} gray levels from the one before` : ""}`;
    scale.ariaValueText = note.value, view.ariaLabel = `what the noise vectors draw after epoch ${epoch}`;
    [...gaps.children].forEach((bar, n) => bar.classList.toggle("now", n === epoch - 1));
  }
  bars(gaps, change), show(epochs);
  box.append(view, gaps, scale, note);
}

function walk(el, { t }, noise, share) {
  const draw = gan(t), half = noise.length / 2, steps = 13, names = noise.map((_, i) => `noise vector ${i + 1}`);
  let [a, b, at, length, z] = [0, half, 0, 1];
  const big = picture("image of z"), note = make("output"), gaps = div("gaps"), images = [];
  const cells = Array.from({ length: steps }, () => picture()), thumbs = noise.map(() => picture());
  const point = (s) => mix(noise[a], noise[b], s).map((v) => v * length);
  const show = inTurn(1, () => { paint(big, draw(z)), share(z), (note.value = `|z| = ${Math.hypot(...z).toFixed(1)}`); });
  const sixteen = inTurn(noise.length, (i) => paint(thumbs[i], draw(noise[i])));
  const path = inTurn(steps, (n) => paint(cells[n], (images[n] = draw(point(n / (steps - 1))))), () => {
    bars(gaps, images.slice(1).map((image, i) => apart(image, images[i])));
  });
  const here = () => { z = point(at); show(); }, again = () => { here(), path(); };
  el.append(
    div("two", picker("From", thumbs.slice(0, half), names.slice(0, half), a, (i) => { a = i; again(); }),
      picker("To", thumbs.slice(half), names.slice(half), 0, (i) => { b = half + i; again(); })),
    div("stage", named(big, "G(z)"), div("", gaps, div("strip", ...cells),
      slider("how far on the way", [0, 1, 0.01], 0, (v) => { at = v; here(); }),
      line("length of z", slider("length of z", [0, 2, 0.05], 1, (v) => { length = v; again(); }), "× 0 to 2"),
      div("buttons", button("new noise", () => { noise = noise.map((old) => old.map(uniform)); sixteen(), again(); }), note))));
  sixteen(), again();
  return (sent) => { z = sent; show(); };
}

function digits(el, { about: { classes }, t }, noise, share) {
  const draw = cgan(t), tiles = 7, steps = 11, last = classes.length - 1;
  const place = (u, v) => mix(mix(noise[0], noise[1], u), mix(noise[2], noise[3], u), v);
  let [strength, from, to, x, y, z] = [3, Math.min(3, last), Math.min(8, last)];
  const label = (a, b, s) => classes.map((_, i) => strength * ((i === a) * (1 - s) + (i === b) * s));
  const map = picture("", 28 * tiles), knob = make("i"), shown = classes.map(() => picture());
  const cells = Array.from({ length: steps }, () => picture()), first = make("b", {}, classes[from]);
  const every = inTurn(classes.length, (i) => paint(shown[i], draw(z, label(i, i, 0))), () => share(z));
  const between = inTurn(steps, (n) => paint(cells[n], draw(z, label(from, to, n / (steps - 1)))));
  const field = inTurn(tiles * tiles, (n) => {
    const [u, v] = [n % tiles, Math.floor(n / tiles)];
    paint(map, draw(place(u / (tiles - 1), v / (tiles - 1)), label(from, from, 0)), [28 * u, 28 * v]);
  });
  const go = (u, v) => {
    [x, y] = [u, v].map((w) => Math.min(1, Math.max(0, w)));
    [across.value, down.value, knob.hidden, z] = [x, y, false, place(x, y)];
    [knob.style.left, knob.style.top] = [x, y].map((w) => `${(100 * (w * (tiles - 1) + 0.5)) / tiles}%`);
    every(), between();
  };
  const [across, down] = ["across", "down"].map((way, i) => slider(`noise, ${way}`, [0, 1, 0.01], 0, (v) => go(...(i ? [x, v] : [v, y]))));
  const pad = div("pad", map, knob), on = (w) => (w * tiles - 0.5) / (tiles - 1);
  onDrag(pad, ([u, v]) => go(on(u), on(v)));
  const second = make("select", { ariaLabel: "second label", onchange: () => { to = second.selectedIndex; between(); } },
    ...classes.map((name, i) => make("option", { selected: i === to }, name)));
  el.append(
    div("stage", div("", pad, line("z across", across), line("z down", down)), div("",
      picker("One z, every label", shown, classes, from, (i) => { from = i; first.textContent = classes[i]; field(), between(); }),
      line("label", slider("strength of the label", [0, 6, 0.1], 3, (v) => { strength = v; every(), between(), field(); }), "× 0 to 6, trained at 3"),
      div("buttons", button("new noise", () => { noise = noise.map((old) => old.map(uniform)); go(x, y), field(); })))),
    make("p", {}, "A mixture of ", first, " and ", second, ", which was never trained:"), div("strip", ...cells));
  go(0, 0), field();
  return (sent) => { z = sent, knob.hidden = place(x, y).some((v, i) => v !== z[i]); every(), between(); };
}

// --- Hosts ---------------------------------------------------------------------------------------

/** Builds the figure of a file (Uint8Array) in el, and its film, if there is one: a function that
    shows another z. A file of an older release brings no noise vectors. */
function build(el, bytes, png, source, share) {
  const file = unpack(bytes), { config: { latent_dim: n }, epoch, model } = file.about;
  const any = { length: 16 * n }, draw = model === "vae" ? normal : uniform;
  const noise = rows(file.t.noise ?? Float32Array.from(any, draw), n), box = div("film");
  el.classList.add("live", `live-${model}`);
  if (png?.length) el.insertBefore(box, el.querySelector("p + p")), film(box, png);
  el.append(make("small", {}, `${source}, ${epoch} ${epoch === 1 ? "epoch" : "epochs"}`));
  return { vae: latents, gan: walk, cgan: digits }[model](el, file, noise, share);
}

function render({ model, el }) {
  const bytes = ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength);
  const share = (z) => { model.set("z", z), model.save_changes(); }; // sends nothing if it is the same
  const show = build(el, bytes(model.get("weights")), bytes(model.get("film")), model.get("source"), share);
  const take = () => show(model.get("z"));
  take(); // before the figure's own first z is shared
  model.on("change:z", take);
  // JupyterLab takes the arrow keys unless the very element that has the focus says no
  el.addEventListener("focusin", ({ target }) => { target.dataset.lmSuppressShortcuts = "true"; });
  return () => model.off("change:z", take);
}

/** What an element holds as base64 of deflated bytes, as a Uint8Array; a function called for each
    letter would be nine times slower. */
async function decode({ textContent }) {
  const letters = atob(textContent), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  const whole = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(whole).arrayBuffer());
}

if (typeof document !== "undefined") {
  const asleep = document.querySelectorAll("aside.live[data-source]");
  const near = new IntersectionObserver((entries) => entries.forEach(async ({ isIntersecting, target: el }) => {
    if (!isIntersecting) return;
    near.unobserve(el);
    try {
      const [bytes, png] = await Promise.all(Array.from(el.querySelectorAll("script"), decode));
      build(el, bytes, png, el.dataset.source, () => {});
    } catch (error) {
      el.hidden = true; // what is printed is still there
      console.error(error);
    }
  }), { rootMargin: "800px" });
  const hide = () => asleep.forEach((el) => { el.hidden = true; }); // nobody knows which one failed
  if (asleep.length) addEventListener("error", hide), addEventListener("unhandledrejection", hide);
  for (const el of asleep) el.hidden = false, near.observe(el);
}

export default { render };
