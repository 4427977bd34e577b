/* The image viewer. Streamlit calls the default export when the component is mounted and whenever
 * its data change; the instance lives as long as its element does.
 *
 * The pixels are fetched once an image. Everything that follows is drawn from memory, one frame at
 * a time and only after a change. Units are those of the image: modality units for DICOM, grey
 * levels for pictures. Window and level change what is seen; the model has its own copy of the
 * image on the server.
 */

const TOKEN_BYTES = 16; // random, at the start of each plane
const MOST_TILE_PIXELS = 1_500_000; // mapped to grey at once while the window is dragged
const MIN_SCALE = 0.02;
const MAX_SCALE = 32;
const NEAREST_FROM = 4; // from this magnification pixels are drawn as squares
const RETRIES = 4;
const RETRY_AFTER = 5000; // milliseconds after the last of them

/* What the reader has chosen stays for the next image; zoom and window do not. */
const chosen = {
  layout: "overlay",
  style: "colours",
  colours: null,
  opacity: { colours: 0.4, outline: 1 },
  threshold: { colours: 0, outline: 0.5 },
  lungs: false,
};

/* ------------------------------------------------------------------ pixels */

export async function fetchPlane(plane) {
  for (let attempt = 0; ; attempt++) {
    try {
      // no-store: the browser keeps no copy in its cache on disk.
      const reply = await fetch(new URL(plane.url, document.baseURI), { cache: "no-store" });
      if (!reply.ok) throw new Error(`status ${reply.status}`);
      const stream = reply.body.pipeThrough(new DecompressionStream("deflate"));
      return unpack(new Uint8Array(await new Response(stream).arrayBuffer()), plane);
    } catch (error) {
      if (attempt === RETRIES) throw error;
      await new Promise((done) => setTimeout(done, 200 * 2 ** attempt));
    }
  }
}

/* Each row holds the differences of neighbours, 16 bits as all low bytes, then all high bytes. */
export function unpack(content, { width, height, bits }) {
  const count = width * height;
  const bytes = content.subarray(TOKEN_BYTES);
  const values = bits === 16 ? new Uint16Array(count) : new Uint8Array(count);
  if (bits === 16) {
    for (let i = 0; i < count; i++) values[i] = bytes[i] | (bytes[count + i] << 8);
  } else {
    values.set(bytes.subarray(0, count));
  }
  for (let row = 0; row < count; row += width) {
    for (let i = row + 1; i < row + width; i++) values[i] += values[i - 1];
  }
  return { width, height, values };
}

/* The image at a half, a quarter, ... of its height and width, each pixel the mean of four. */
export function pyramid(level) {
  const levels = [level];
  while (Math.min(level.width, level.height) > 256) {
    const width = level.width >> 1, height = level.height >> 1, wide = level.width;
    const values = new level.values.constructor(width * height), from = level.values;
    for (let y = 0, to = 0; y < height; y++) {
      for (let x = 0, i = 2 * y * wide; x < width; x++, i += 2) {
        values[to++] = (from[i] + from[i + 1] + from[i + wide] + from[i + wide + 1] + 2) >> 2;
      }
    }
    levels.push((level = { width, height, values }));
  }
  return levels;
}

/* The grey level of a unit in a window: PS3.3, section C.11.2.1.2.1. */
export function windowed(unit, center, width) {
  const level = ((unit - (center - 0.5)) / (width - 1) + 0.5) * 255;
  return Math.min(255, Math.max(0, Math.round(level)));
}

/* Lines along which the values of a plane, [0, 255], cross a level, in image coordinates. */
export function contour(plane, level, imageWidth, imageHeight) {
  const { width, height, values } = plane, path = new Path2D();
  const sx = imageWidth / width, sy = imageHeight / height;
  const at = (x, y) => // outside there is nothing, so that every line is closed
    x < 0 || y < 0 || x >= width || y >= height ? 0 : values[y * width + x];
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const a = at(x, y), b = at(x + 1, y), c = at(x + 1, y + 1), d = at(x, y + 1);
      const kind = (a >= level) | ((b >= level) << 1) | ((c >= level) << 2) | ((d >= level) << 3);
      if (kind === 0 || kind === 15) continue;
      const cross = (p, q) => (p === q ? 0.5 : (level - p) / (q - p));
      const point = [
        () => [x + cross(a, b), y],
        () => [x + 1, y + cross(b, c)],
        () => [x + cross(d, c), y + 1],
        () => [x, y + cross(a, d)],
      ];
      for (const [from, to] of CELL_LINES[kind]) {
        const [x1, y1] = point[from](), [x2, y2] = point[to]();
        path.moveTo((x1 + 0.5) * sx, (y1 + 0.5) * sy);
        path.lineTo((x2 + 0.5) * sx, (y2 + 0.5) * sy);
      }
    }
  }
  return path;
}

/* Of a cell, by which of its corners are inside: the edges (top, right, bottom, left) it joins. */
const CELL_LINES = [
  [], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], [[3, 0], [1, 2]], [[0, 2]], [[3, 2]],
  [[2, 3]], [[2, 0]], [[0, 1], [2, 3]], [[2, 1]], [[1, 3]], [[1, 0]], [[0, 3]], [],
];

function smoothed({ width, height, values }) {
  const result = new Uint8Array(values.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0, count = 0;
      for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
          sum += values[v * width + u];
          count++;
        }
      }
      result[y * width + x] = sum / count;
    }
  }
  return { width, height, values: result };
}

/* ------------------------------------------------------------------ viewer */

class Viewer {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(`[data-xv="${name}"]`);
    this.canvas = this.find("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.tile = { canvas: document.createElement("canvas"), key: "" };
    this.tile.context = this.tile.canvas.getContext("2d", { alpha: false });
    this.mapCanvas = document.createElement("canvas");
    this.loaded = new Map(); // url -> promise of its plane
    this.pointers = new Map();
    this.mode = "pan";
    this.ruler = null;
    this.box = null; // two opposite corners, in image coordinates
    this.frame = 0;
    root.querySelectorAll("input[type=radio]").forEach((input) => {
      input.name = `xv-layout-${count}`; // one group in each viewer of the page
    });
    count++;
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.find("stage"));
    this.bind();
  }

  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    this.closed = true;
    this.levels = this.map = this.lungs = this.table = null;
    this.loaded.clear();
  }

  /* ---------------------------------------------------------------- data */

  async show(data, send) {
    this.send = send;
    this.data = data;
    this.describe();
    const planes = [data.image, data.tone?.levels, data.map, data.lungs];
    for (const url of this.loaded.keys()) {
      if (!planes.some((plane) => plane?.url === url)) this.loaded.delete(url);
    }
    const isNew = this.shown !== data.image.url;
    if (isNew) {
      this.shown = null;
      this.levels = null;
      this.message("Loading the image …");
    }
    try {
      const [image, table, map, lungs] = await Promise.all(planes.map((plane) => this.load(plane)));
      if (this.closed || this.data !== data) return;
      if (isNew) {
        this.shown = data.image.url;
        this.levels = pyramid(image);
        this.table = table?.values ?? Uint8Array.from({ length: 256 }, (_, level) => level);
        this.tone = data.tone ?? { slope: 1, intercept: 0, center: 128, width: 256, presets: [] };
        this.reset();
      }
      this.map = map;
      this.lungs = lungs && smoothed(lungs);
      this.lungPath = lungs && contour(this.lungs, 128, image.width, image.height);
      this.mapKey = this.outlineKey = "";
      this.message("");
    } catch (error) {
      this.loaded.clear();
      if (this.closed || this.data !== data) return;
      this.message("The image could not be loaded from the server. Trying again …");
      setTimeout(() => {
        if (!this.closed && this.data === data) this.show(data, send);
      }, RETRY_AFTER);
      return;
    }
    this.presets();
    this.update();
  }

  load(plane) {
    if (!plane) return null;
    if (!this.loaded.has(plane.url)) this.loaded.set(plane.url, fetchPlane(plane));
    return this.loaded.get(plane.url);
  }

  message(text) {
    this.find("message").textContent = text;
    this.root.dataset.state = text ? "waiting" : "ready";
  }

  announce(text) {
    this.find("status").textContent = text;
  }

  /* ------------------------------------------------------------- geometry */

  get size() {
    return this.levels[0];
  }

  panes() {
    const { width, height } = this.canvas;
    if (this.layout !== "both") return [{ x: 0, width, height }];
    const gap = 2 * (devicePixelRatio || 1), half = Math.floor((width - gap) / 2);
    return [{ x: 0, width: half, height }, { x: width - half, width: half, height }];
  }

  get layout() {
    return this.map ? chosen.layout : "image";
  }

  fitScale() {
    const [pane] = this.panes(), { width, height } = this.size;
    const [w, h] = this.turns % 2 ? [height, width] : [width, height];
    return Math.min(pane.width / w, pane.height / h);
  }

  /* From device pixels relative to the centre of a pane to image coordinates, and back. */
  toImage(x, y) {
    const [u, v] = turned(x / this.scale, y / this.scale, -this.turns);
    return [u + this.x, v + this.y];
  }

  toPane(u, v) {
    const [x, y] = turned(u - this.x, v - this.y, this.turns);
    return [x * this.scale, y * this.scale];
  }

  /* Where an event is: its pane, and its place relative to the pane's centre in device pixels. */
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) * this.canvas.width) / box.width;
    const y = ((event.clientY - box.top) * this.canvas.height) / box.height;
    const panes = this.panes();
    const pane = panes.length > 1 && x >= panes[1].x ? panes[1] : panes[0];
    return { pane, x: x - pane.x - pane.width / 2, y: y - pane.height / 2 };
  }

  /* Zoom so that the image point at (x, y) stays there. */
  zoom(factor, x = 0, y = 0) {
    if (!this.levels) return;
    const [u, v] = this.toImage(x, y);
    this.scale = Math.min(MAX_SCALE, Math.max(MIN_SCALE, this.scale * factor));
    const [dx, dy] = turned(x / this.scale, y / this.scale, -this.turns);
    this.x = u - dx;
    this.y = v - dy;
    this.fitted = false;
    this.keepInside();
    this.draw();
  }

  pan(dx, dy) {
    const [u, v] = turned(dx / this.scale, dy / this.scale, -this.turns);
    this.x -= u;
    this.y -= v;
    this.fitted = false;
    this.keepInside();
    this.draw();
  }

  /* The centre of the pane never leaves the image. */
  keepInside() {
    this.x = Math.min(this.size.width, Math.max(0, this.x));
    this.y = Math.min(this.size.height, Math.max(0, this.y));
  }

  fit() {
    this.x = this.size.width / 2;
    this.y = this.size.height / 2;
    this.scale = this.fitScale();
    this.fitted = true;
    this.draw();
  }

  oneToOne() {
    this.zoom(1 / this.scale);
  }

  rotate() {
    this.turns = (this.turns + 1) % 4;
    if (this.fitted) this.fit();
    this.draw();
  }

  reset() {
    this.turns = 0;
    this.inverted = false;
    this.window = null;
    this.ruler = this.box = null;
    if (this.mode === "box") this.mode = "pan";
    this.resize();
    this.fit();
    this.update();
  }

  resize() {
    const stage = this.find("stage"), ratio = devicePixelRatio || 1;
    const width = Math.max(1, Math.round(stage.clientWidth * ratio));
    const height = Math.max(1, Math.round(stage.clientHeight * ratio));
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    if (!this.levels) return;
    if (this.fitted) this.fit();
    this.draw();
  }

  /* --------------------------------------------------------------- window */

  unit(value) {
    return this.tone.slope * value + this.tone.intercept;
  }

  /* A change of the window by a drag of (x, y) pixels over the stage: right is wider, up brighter. */
  adjust(x, y) {
    const from = this.window ?? { center: this.tone.center, width: this.tone.width };
    const range = this.unit(this.table.length - 1) - this.unit(0);
    const step = Math.max(from.width, range / 64) / 400;
    const least = 1 + 2 * this.tone.slope;
    const brighter = this.tone.inverted !== this.inverted ? -1 : 1;
    this.window = {
      center: from.center + brighter * y * step,
      width: Math.min(2 * range, Math.max(least, from.width + x * step)),
    };
    this.shownPreset = "";
    this.draw();
    this.readWindow();
  }

  /* The colour of each value, as one number: alpha, blue, green, red from the highest byte. */
  lookup() {
    const key = `${this.inverted} ${this.window?.center} ${this.window?.width}`;
    if (this.lutKey === key) return this.lut;
    if (this.lut?.length !== this.table.length) this.lut = new Uint32Array(this.table.length);
    const flip = this.inverted ? 255 : 0, dark = this.tone.inverted ? 255 : 0;
    for (let value = 0; value < this.lut.length; value++) {
      const level = this.window
        ? windowed(this.unit(value), this.window.center, this.window.width) ^ dark
        : this.table[value];
      this.lut[value] = 0xff000000 | ((level ^ flip) * 0x010101);
    }
    this.lutKey = key;
    return this.lut;
  }

  presets() {
    const full = [this.unit(0), this.unit(this.table.length - 1)];
    const { values } = this.levels[this.levels.length - 1];
    const sorted = Float64Array.from(values).sort();
    const share = (part) => this.unit(sorted[Math.floor(part * (sorted.length - 1))]);
    const range = (name, [low, high]) => ({
      name,
      center: (low + high) / 2 + 0.5,
      width: Math.max(1 + 2 * this.tone.slope, high - low + 1),
    });
    this.choices = [
      ...this.tone.presets,
      range("Full range", full),
      range("Dark areas", [share(0.01), share(0.5)]),
      range("Bright areas", [share(0.5), share(0.99)]),
    ];
    const select = this.find("preset");
    select.replaceChildren(new Option("As analysed", "analysed"));
    this.choices.forEach(({ name }, index) => select.append(new Option(name, index)));
    select.append(new Option("Set by hand", ""));
    select.lastChild.disabled = true;
  }

  /* ----------------------------------------------------------------- draw */

  draw() {
    if (!this.frame && !this.closed) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.paint();
      });
    }
  }

  paint() {
    const { context, canvas } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (!this.levels) return;
    const panes = this.panes();
    panes.forEach((pane, index) => {
      context.save();
      context.beginPath();
      context.rect(pane.x, 0, pane.width, pane.height);
      context.clip();
      this.paintPane(pane, this.layout === "overlay" || index === 1);
      context.restore();
    });
    if (panes.length > 1) {
      context.fillStyle = "#555";
      context.fillRect(panes[0].width, 0, panes[1].x - panes[0].width, canvas.height);
    }
  }

  paintPane(pane, withMap) {
    const { context, size } = this, ratio = devicePixelRatio || 1;
    const tile = this.mapToGrey(pane);
    let left = pane.x + pane.width / 2, top = pane.height / 2;
    // Whole pixels, so that an image at 1:1 is not interpolated.
    const [x, y] = this.toPane(0, 0);
    left = Math.round(left + x);
    top = Math.round(top + y);
    context.translate(left, top);
    context.rotate((this.turns * Math.PI) / 2);
    context.scale(this.scale, this.scale);
    context.imageSmoothingEnabled = this.scale < NEAREST_FROM && this.scale !== 1;
    context.imageSmoothingQuality = "medium";
    context.drawImage(
      tile.canvas, 0, 0, tile.width, tile.height,
      tile.x * tile.step, tile.y * tile.step, tile.width * tile.step, tile.height * tile.step,
    );
    const thin = (2 * ratio) / this.scale;
    if (withMap && this.map) {
      context.globalAlpha = chosen.opacity[chosen.style];
      if (chosen.style === "outline") {
        this.stroke(this.outline(), "#ffd228", thin);
      } else {
        context.imageSmoothingEnabled = true;
        context.drawImage(this.colouredMap(), 0, 0, size.width, size.height);
      }
      context.globalAlpha = 1;
    }
    if (chosen.lungs && this.lungPath) this.stroke(this.lungPath, "#5ac8ff", thin);
    if (this.ruler) this.paintRuler(thin);
    if (this.box) this.paintBox(thin);
    context.setTransform(1, 0, 0, 1, 0, 0);
    if (this.data.spacing) this.paintScaleBar(pane, ratio);
    if (this.ruler) this.paintLength(pane, ratio);
  }

  /* Each line has a dark edge, so that it is visible on bright and dark areas. */
  stroke(path, colour, width) {
    const { context } = this;
    context.lineCap = "round";
    for (const [style, wide] of [["#000", 2 * width], [colour, width]]) {
      context.strokeStyle = style;
      context.lineWidth = wide;
      context.stroke(path);
    }
  }

  /* The part of the image that a pane shows, as grey pixels, at a resolution near the screen's. */
  mapToGrey(pane) {
    const { tile } = this, lut = this.lookup();
    const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([x, y]) =>
      this.toImage((x * pane.width) / 2, (y * pane.height) / 2));
    const range = (axis) => {
      const all = corners.map((corner) => corner[axis]);
      return [Math.min(...all), Math.max(...all)];
    };
    const [left, right] = range(0), [top, bottom] = range(1);
    const last = this.levels.length - 1;
    let step = Math.min(last, Math.max(0, Math.floor(Math.log2(1 / this.scale))));
    const area = () => ((right - left) * (bottom - top)) / 4 ** step;
    if (this.windowing && area() > MOST_TILE_PIXELS && step < last) step++;
    const level = this.levels[step];
    const cut = (low, high, most) => {
      // Beyond the visible part, so that a short drag needs no new tile.
      const margin = this.windowing ? 2 : (high - low) / 4;
      const from = Math.max(0, Math.floor((low - margin) / 2 ** step));
      return [from, Math.max(from + 1, Math.min(most, Math.ceil((high + margin) / 2 ** step)))];
    };
    let [x, x2] = [0, level.width], [y, y2] = [0, level.height];
    if (level.width * level.height > MOST_TILE_PIXELS) {
      [x, x2] = cut(left, right, level.width);
      [y, y2] = cut(top, bottom, level.height);
    }
    const seen = (low, high, from, to, most) =>
      from <= Math.max(0, Math.floor(low / 2 ** step)) &&
      to >= Math.min(most, Math.ceil(high / 2 ** step));
    const key = `${this.data.image.url} ${this.lutKey} ${step}`;
    if (
      tile.key === key &&
      seen(left, right, tile.x, tile.x + tile.width, level.width) &&
      seen(top, bottom, tile.y, tile.y + tile.height, level.height)
    ) {
      return tile;
    }
    const width = x2 - x, height = y2 - y;
    if (tile.pixels?.width !== width || tile.pixels.height !== height) {
      tile.pixels = new ImageData(width, height);
      tile.canvas.width = width;
      tile.canvas.height = height;
    }
    const to = new Uint32Array(tile.pixels.data.buffer), from = level.values;
    for (let row = 0, i = 0; row < height; row++) {
      const start = (y + row) * level.width + x;
      for (let j = start; j < start + width; j++) to[i++] = lut[from[j]];
    }
    tile.context.putImageData(tile.pixels, 0, 0);
    return Object.assign(tile, { key, x, y, width, height, step: 2 ** step });
  }

  /* The map in its colours; the opacity of a pixel is proportional to its value. */
  colouredMap() {
    const threshold = Math.round(255 * chosen.threshold.colours);
    const key = `${this.data.map.url} ${chosen.colours} ${threshold}`;
    if (this.mapKey !== key) {
      const { width, height, values } = this.map, table = this.colourTable();
      const pixels = new ImageData(width, height), to = pixels.data;
      for (let i = 0; i < values.length; i++) {
        const value = values[i];
        to[4 * i] = table[3 * value];
        to[4 * i + 1] = table[3 * value + 1];
        to[4 * i + 2] = table[3 * value + 2];
        to[4 * i + 3] = value < threshold ? 0 : value;
      }
      this.mapCanvas.width = width;
      this.mapCanvas.height = height;
      this.mapCanvas.getContext("2d").putImageData(pixels, 0, 0);
      this.mapKey = key;
    }
    return this.mapCanvas;
  }

  colourTable() {
    const name = this.data.colours[chosen.colours] ? chosen.colours : Object.keys(this.data.colours)[0];
    return Uint8Array.from(atob(this.data.colours[name]), (letter) => letter.charCodeAt(0));
  }

  outline() {
    const level = Math.max(1, Math.round(255 * chosen.threshold.outline));
    const key = `${this.data.map.url} ${level}`;
    if (this.outlineKey !== key) {
      this.outlinePath = contour(this.map, level, this.size.width, this.size.height);
      this.outlineKey = key;
    }
    return this.outlinePath;
  }

  /* ---------------------------------------------------------------- ruler */

  length() {
    const [[x1, y1], [x2, y2]] = this.ruler, { spacing } = this.data;
    if (!spacing) return `${Math.hypot(x2 - x1, y2 - y1).toFixed(0)} pixels`;
    const length = Math.hypot((x2 - x1) * spacing.columns, (y2 - y1) * spacing.rows);
    return `${length.toFixed(1)} mm${spacing.atDetector ? " at the detector" : ""}`;
  }

  paintRuler(thin) {
    const path = new Path2D(), [from, to] = this.ruler;
    path.moveTo(...from);
    path.lineTo(...to);
    this.stroke(path, "#7dff9b", thin);
  }

  paintLength(pane, ratio) {
    const [x, y] = this.toPane(...this.ruler[1]);
    this.label(this.length(), pane.x + pane.width / 2 + x + 8 * ratio, pane.height / 2 + y, ratio);
  }

  paintScaleBar(pane, ratio) {
    const { rows, columns, atDetector } = this.data.spacing;
    const perPixel = this.scale / (this.turns % 2 ? rows : columns); // device pixels per mm
    const length = [1, 2, 5, 10, 20, 50, 100, 200].findLast((mm) => mm * perPixel < pane.width / 3) ?? 1;
    const right = pane.x + pane.width - 12 * ratio, bottom = pane.height - 14 * ratio;
    const path = new Path2D();
    path.moveTo(right - length * perPixel, bottom);
    path.lineTo(right, bottom);
    this.stroke(path, "#fff", 2 * ratio);
    const text = `${length >= 10 ? `${length / 10} cm` : `${length} mm`}${atDetector ? " at the detector" : ""}`;
    this.context.textAlign = "right";
    this.label(text, right, bottom - 10 * ratio, ratio);
    this.context.textAlign = "left";
  }

  /* ------------------------------------------------------------------ box */

  /* What the stage shows of the image: the box before one is drawn, and that of the keyboard. */
  visibleBox() {
    const [pane] = this.panes();
    return [[-1, -1], [1, 1]].map(([x, y]) =>
      this.onImage(this.toImage((x * pane.width) / 2, (y * pane.height) / 2)));
  }

  onImage([u, v]) {
    return [Math.min(this.size.width, Math.max(0, u)), Math.min(this.size.height, Math.max(0, v))];
  }

  /* Top, left, bottom and right of the box in shares of the image's height and width. */
  boxShares() {
    const [[u1, v1], [u2, v2]] = this.box, { width, height } = this.size;
    const shares = [
      Math.min(v1, v2) / height, Math.min(u1, u2) / width,
      Math.max(v1, v2) / height, Math.max(u1, u2) / width,
    ];
    return shares.map((share) => Math.round(share * 1e5) / 1e5);
  }

  applyBox() {
    if (this.mode === "box" && this.box) this.send("box", this.boxShares());
    this.setMode("pan");
  }

  paintBox(thin) {
    const [[u1, v1], [u2, v2]] = this.box, { context } = this, path = new Path2D();
    context.fillStyle = "rgb(0 0 0 / 55%)";
    path.rect(0, 0, this.size.width, this.size.height);
    path.rect(u1, v1, u2 - u1, v2 - v1);
    context.fill(path, "evenodd");
    const edge = new Path2D();
    edge.rect(u1, v1, u2 - u1, v2 - v1);
    this.stroke(edge, "#ffd228", thin);
  }

  label(text, x, y, ratio) {
    const { context } = this;
    context.font = `${13 * ratio}px sans-serif`;
    context.lineWidth = 3 * ratio;
    context.strokeStyle = "#000";
    context.strokeText(text, x, y);
    context.fillStyle = "#fff";
    context.fillText(text, x, y);
  }

  /* --------------------------------------------------------------- texts */

  describe() {
    const { data } = this;
    this.find("title").textContent = data.description;
    const layers = [];
    if (data.map && this.layout !== "image") layers.push(`${data.map.name} map`);
    if (data.lungs && chosen.lungs) layers.push("outline of the lungs");
    const shown = layers.length ? ` Shown with ${layers.join(" and ")}.` : "";
    this.canvas.setAttribute("aria-label", data.description + shown);
    this.find("map-controls").hidden = !data.map;
    this.find("lungs-label").hidden = !data.lungs;
    for (const name of ["image", "overlay", "both"]) {
      this.find(name).parentElement.hidden = !data.map && name !== "image";
    }
    this.find("box").hidden = !data.box;
    this.find("box-key").hidden = this.find("box-help").hidden = !data.box;
    if (data.box) {
      this.find("box").textContent = data.box.label;
      this.find("box").title = `${data.box.help} (C)`;
      this.find("box-apply").textContent = data.box.action;
      this.find("box-help").textContent = `${data.box.help}; Enter: ${data.box.action}`;
    }
    for (const name of ["previous", "next"]) {
      this.find(name).hidden = !data.several;
      this.find(name).disabled = !data[name];
    }
  }

  /* Set all controls to what is shown, and draw. */
  update() {
    if (!this.data || !this.levels) return;
    const { data } = this, style = chosen.style;
    if (!data.colours[chosen.colours]) chosen.colours = Object.keys(data.colours)[0];
    const select = this.find("colours");
    if (select.options.length === 0) {
      Object.keys(data.colours).forEach((name) => select.append(new Option(name)));
      select.append(new Option("Outline", "outline"));
    }
    select.value = style === "outline" ? "outline" : chosen.colours;
    this.find(this.layout).checked = true;
    const opacity = Math.round(100 * chosen.opacity[style]);
    this.find("opacity").value = opacity;
    this.find("opacity-value").textContent = `${opacity}%`;
    const threshold = Math.round(100 * chosen.threshold[style]);
    this.find("threshold").value = threshold;
    this.find("threshold-value").textContent = `${threshold}%`;
    this.find("lungs").checked = chosen.lungs;
    const table = this.colourTable();
    const stops = [0, 51, 102, 153, 204, 255].map((i) => `rgb(${table.slice(3 * i, 3 * i + 3)})`);
    this.find("scale").style.background = `linear-gradient(to right, ${stops})`;
    this.find("legend-colours").hidden = style === "outline";
    this.find("legend-outline").hidden = style !== "outline";
    this.find("legend-outline").textContent = `Line: ${threshold}% of the map's maximum`;
    this.find("invert").setAttribute("aria-pressed", this.inverted);
    this.find("box-bar").hidden = !this.box;
    for (const mode of ["pan", "window", "measure", "box"]) {
      this.find(mode).setAttribute("aria-pressed", this.mode === mode);
    }
    this.root.dataset.mode = this.mode;
    this.describe();
    this.readWindow();
    this.draw();
  }

  readWindow() {
    const { center, width } = this.window ?? this.tone;
    const digits = this.tone.slope < 0.5 ? 2 : 0;
    const text = `C ${center.toFixed(digits)} W ${width.toFixed(digits)}`;
    this.find("window-text").textContent = this.window
      ? `${text} (display only)`
      : `${text} (as analysed)`;
    this.find("preset").value = this.window ? this.shownPreset ?? "" : "analysed";
    this.canvas.style.touchAction = this.fitted && this.mode === "pan" ? "pan-y" : "none";
  }

  readValue(event) {
    const { x, y } = this.place(event);
    const [u, v] = this.toImage(x, y).map(Math.floor);
    const { width, height, values } = this.size;
    if (u < 0 || v < 0 || u >= width || v >= height) return this.find("value").textContent = "";
    const value = values[v * width + u], parts = [`x ${u}, y ${v}`];
    if (this.data.tone) parts.push(`value ${Number(this.unit(value).toFixed(2))}`);
    parts.push(`grey ${this.lookup()[value] & 255}`);
    if (this.map) {
      const { map } = this;
      const row = Math.floor(((v + 0.5) * map.height) / height);
      const column = Math.floor(((u + 0.5) * map.width) / width);
      parts.push(`map ${Math.round((100 * map.values[row * map.width + column]) / 255)}%`);
    }
    this.find("value").textContent = parts.join(" · ");
  }

  /* --------------------------------------------------------------- events */

  bind() {
    const on = (name, kind, act) => this.find(name).addEventListener(kind, (event) => {
      if (this.levels) act(event);
    });
    on("box-apply", "click", () => this.applyBox());
    on("box-cancel", "click", () => this.setMode("pan"));
    for (const mode of ["pan", "window", "measure", "box"]) {
      on(mode, "click", () => this.setMode(mode));
    }
    on("fit", "click", () => this.fit());
    on("one", "click", () => this.oneToOne());
    on("larger", "click", () => this.zoom(1.25));
    on("smaller", "click", () => this.zoom(1 / 1.25));
    on("invert", "click", () => this.invert());
    on("rotate", "click", () => this.rotate());
    on("reset", "click", () => this.reset());
    on("full", "click", () => this.toggleFullScreen());
    on("help", "click", () => this.toggleHelp());
    on("close-help", "click", () => this.toggleHelp());
    this.find("previous").addEventListener("click", () => this.send("step", -1));
    this.find("next").addEventListener("click", () => this.send("step", 1));
    on("preset", "change", (event) => {
      const choice = this.choices[event.target.value];
      this.window = choice ? { center: choice.center, width: choice.width } : null;
      this.shownPreset = event.target.value;
      this.update();
    });
    for (const layout of ["image", "overlay", "both"]) {
      on(layout, "change", () => this.setLayout(layout));
    }
    on("colours", "change", ({ target }) => {
      chosen.style = target.value === "outline" ? "outline" : "colours";
      if (target.value !== "outline") chosen.colours = target.value;
      this.update();
    });
    on("opacity", "input", ({ target }) => {
      chosen.opacity[chosen.style] = target.value / 100;
      this.update();
    });
    on("threshold", "input", ({ target }) => {
      chosen.threshold[chosen.style] = target.value / 100;
      this.update();
    });
    on("lungs", "change", ({ target }) => {
      chosen.lungs = target.checked;
      this.update();
    });
    const { canvas } = this;
    const listen = (kind, act) => canvas.addEventListener(kind, (event) => {
      if (this.levels) act(event);
    }, { passive: false });
    listen("wheel", (event) => {
      event.preventDefault();
      const { x, y } = this.place(event);
      const lines = event.deltaMode === 1 ? 33 : 1; // a line as 33 pixels
      this.zoom(Math.exp(-Math.max(-200, Math.min(200, event.deltaY * lines)) / 400), x, y);
      this.readWindow();
    });
    listen("contextmenu", (event) => event.preventDefault());
    listen("dblclick", () => this.reset());
    listen("pointerdown", (event) => this.press(event));
    listen("pointermove", (event) => this.move(event));
    listen("pointerup", (event) => this.release(event));
    listen("pointercancel", (event) => this.release(event));
    listen("pointerleave", () => (this.find("value").textContent = ""));
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("fullscreenchange", () => this.resize());
  }

  press(event) {
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const byButton = { 1: "pan", 2: "window" };
    this.drag = byButton[event.button] ?? this.mode;
    if (this.pointers.size === 2) this.startTwoFingers();
    else if (this.drag === "measure") {
      const { x, y } = this.place(event), point = this.toImage(x, y);
      this.ruler = [point, point];
    } else if (this.drag === "box") {
      const { x, y } = this.place(event), point = this.onImage(this.toImage(x, y));
      this.box = [point, point];
    }
  }

  move(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return this.readValue(event);
    const ratio = this.canvas.width / this.canvas.getBoundingClientRect().width;
    const dx = event.clientX - last.x, dy = event.clientY - last.y;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (this.pointers.size > 1) return this.moveTwoFingers();
    if (this.drag === "window") {
      this.windowing = true;
      this.adjust(dx, dy);
    } else if (this.drag === "measure") {
      const { x, y } = this.place(event);
      this.ruler = [this.ruler[0], this.toImage(x, y)];
      this.draw();
    } else if (this.drag === "box") {
      const { x, y } = this.place(event);
      this.box = [this.box[0], this.onImage(this.toImage(x, y))];
      this.draw();
    } else if (!(event.pointerType === "touch" && this.fitted)) {
      this.pan(dx * ratio, dy * ratio);
    }
  }

  release(event) {
    this.pointers.delete(event.pointerId);
    this.fingers = null;
    if (this.drag === "measure" && this.ruler) this.announce(this.length());
    if (this.drag === "box" && this.box) {
      const [[u1, v1], [u2, v2]] = this.box;
      if (Math.min(Math.abs(u1 - u2), Math.abs(v1 - v2)) < 2) this.box = this.visibleBox();
    }
    if (this.windowing) {
      this.windowing = false;
      this.announce(this.find("window-text").textContent);
    }
    this.draw();
    this.readWindow();
  }

  twoFingers() {
    const [a, b] = this.pointers.values();
    return {
      distance: Math.hypot(a.x - b.x, a.y - b.y),
      clientX: (a.x + b.x) / 2,
      clientY: (a.y + b.y) / 2,
    };
  }

  startTwoFingers() {
    this.fingers = { start: this.twoFingers(), last: this.twoFingers(), kind: "" };
  }

  /* Two fingers that part or meet zoom; two that move together change the window. */
  moveTwoFingers() {
    if (!this.fingers) return;
    const now = this.twoFingers(), { start, last } = this.fingers;
    if (!this.fingers.kind) {
      const apart = Math.abs(now.distance - start.distance);
      const along = Math.hypot(now.clientX - start.clientX, now.clientY - start.clientY);
      if (Math.max(apart, along) < 12) return;
      this.fingers.kind = apart > along ? "zoom" : "window";
    }
    this.fingers.last = now;
    if (this.fingers.kind === "window") {
      this.windowing = true;
      return this.adjust(now.clientX - last.clientX, now.clientY - last.clientY);
    }
    const { x, y } = this.place(now);
    this.zoom(now.distance / Math.max(1, last.distance), x, y);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { tagName } = event.target;
    const arrow = event.key.startsWith("Arrow");
    if (tagName === "SELECT" || (tagName === "INPUT" && (arrow || event.key === " "))) return;
    if (event.key === "Escape" && !this.find("help-panel").hidden) {
      event.stopPropagation();
      return this.toggleHelp();
    }
    if (this.mode === "box" && event.key === "Escape") {
      event.stopPropagation();
      return this.setMode("pan");
    }
    if (tagName === "BUTTON" && event.key === "Enter") return;
    const name = arrow ? event.key : event.key.toLowerCase();
    const act = this.keys()[arrow && event.shiftKey ? `Shift${name}` : name];
    const isStep = arrow && !event.shiftKey; // also while an image is being loaded
    if (!act || !(this.levels || isStep)) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  keys() {
    const by = (x, y) => () =>
      this.mode === "window" ? this.adjust(x / 5, y / 5) : this.pan(-x * 2, -y * 2);
    const step = (name, change) => () => this.data[name] && this.send("step", change);
    return {
      0: () => this.fit(),
      1: () => this.oneToOne(),
      "+": () => this.zoom(1.25),
      "=": () => this.zoom(1.25),
      "-": () => this.zoom(1 / 1.25),
      i: () => this.invert(),
      t: () => this.rotate(),
      r: () => this.reset(),
      p: () => this.setMode("pan"),
      w: () => this.setMode("window"),
      m: () => this.setMode("measure"),
      c: () => this.setMode("box"),
      enter: () => this.mode === "box" && this.applyBox(),
      o: () => this.setLayout(this.layout === "overlay" ? "image" : "overlay"),
      s: () => this.setLayout(this.layout === "both" ? "overlay" : "both"),
      l: () => this.data.lungs && this.setLungs(!chosen.lungs),
      f: () => this.toggleFullScreen(),
      "?": () => this.toggleHelp(),
      ArrowLeft: step("previous", -1),
      ArrowRight: step("next", 1),
      ShiftArrowLeft: by(-25, 0),
      ShiftArrowRight: by(25, 0),
      ShiftArrowUp: by(0, -25),
      ShiftArrowDown: by(0, 25),
    };
  }

  setMode(mode) {
    if (mode === "box" && !(this.data.box && this.levels)) return;
    this.mode = mode;
    if (mode !== "measure") this.ruler = null;
    this.box = mode === "box" ? this.visibleBox() : null;
    this.update();
    this.announce({
      pan: "Drag moves the image",
      window: "Drag changes the window",
      measure: "Drag measures",
      box: this.data.box?.help,
    }[mode]);
  }

  setLayout(layout) {
    if (!this.map) return;
    chosen.layout = layout;
    if (this.fitted) this.fit();
    this.update();
    this.announce({ image: "Image without map", overlay: "Image with map", both: "Image and map side by side" }[layout]);
  }

  setLungs(shown) {
    chosen.lungs = shown;
    this.update();
    this.announce(shown ? "Outline of the lungs on" : "Outline of the lungs off");
  }

  invert() {
    this.inverted = !this.inverted;
    this.update();
    this.announce(this.inverted ? "Inverted" : "Not inverted");
  }

  toggleHelp() {
    const panel = this.find("help-panel");
    panel.hidden = !panel.hidden;
    this.find("help").setAttribute("aria-expanded", !panel.hidden);
    (panel.hidden ? this.canvas : this.find("close-help")).focus({ preventScroll: true });
  }

  async toggleFullScreen() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else if (this.root.requestFullscreen) await this.root.requestFullscreen();
    else this.root.classList.toggle("xv-fills"); // where only videos may fill the screen
    this.resize();
  }
}

/* (x, y) turned clockwise by quarter turns; y points down. */
function turned(x, y, quarters) {
  return [[x, y], [-y, x], [-x, -y], [y, -x]][((quarters % 4) + 4) % 4];
}

let count = 0;
const viewers = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".xv");
  if (!root) return;
  let viewer = viewers.get(root);
  if (!viewer) {
    viewer = new Viewer(root);
    viewers.set(root, viewer);
    root.viewer = viewer; // for tests and measurements
  }
  viewer.show(data, setTriggerValue);
  return () => {
    viewer.close();
    viewers.delete(root);
  };
}
