// A picture on a canvas: zoom, pan, wipe, and tiles of the plate's own pixels once it is large enough.
// Coordinates are pixels of the plate from its top left corner.
import { blob } from "./common.js";

const TILE = 512;
const MAX_TILES = 96;

export class Viewer {
  // onPoint(x, y, event, kind) is told of "move", "down", "up" and "leave".
  constructor(stage, { onPoint = () => {}, onDraw = () => {} } = {}) {
    this.stage = stage;
    this.canvas = stage.querySelector("canvas");
    this.onPoint = onPoint;
    this.onDraw = onDraw;
    this.size = { width: 1, height: 1, aspect: 1 };
    this.pictures = [null, null]; // A and B
    this.mode = "A"; // "A", "B", "wipe", "onion"
    this.wipe = 0.5;
    this.scale = 0; // 0: as large as fits
    this.center = [0.5, 0.5];
    this.tiles = new Map(); // address -> bitmap
    this.wanted = new Map(); // address -> AbortController
    this.tileAddress = null; // (side, left, top, width, height) -> address
    this.drag = null;
    new ResizeObserver(() => this.draw()).observe(stage);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.canvas.addEventListener("pointerdown", (event) => this.down(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    this.canvas.addEventListener("pointerup", (event) => this.up(event));
    this.canvas.addEventListener("pointerleave", (event) => this.onPoint(...this.at(event), event, "leave"));
    this.canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(event.deltaY < 0 ? 1.25 : 0.8, event); }, { passive: false });
  }

  fit() { this.scale = 0; this.center = [0.5, 0.5]; this.draw(); }

  zoom(factor, event) {
    const before = event ? this.at(event) : null;
    const fitted = this.fitted();
    this.scale = Math.min(Math.max((this.scale || fitted) * factor, fitted / 2), 16);
    if (before) {
      const after = this.at(event);
      this.center = [this.center[0] + (before[0] - after[0]) / this.size.width, this.center[1] + (before[1] - after[1]) / this.size.height];
    }
    this.draw();
  }

  // One pixel of the plate is one of the screen, or as often as `factor` says.
  pixels(factor = 1) { this.scale = factor / devicePixelRatio; this.draw(); }

  fitted() {
    const { clientWidth, clientHeight } = this.stage;
    return Math.min(clientWidth / (this.size.width * this.size.aspect), clientHeight / this.size.height) || 1;
  }

  place() {
    const scale = this.scale || this.fitted();
    const { clientWidth, clientHeight } = this.stage;
    const wide = this.size.width * this.size.aspect * scale, high = this.size.height * scale;
    return { scale, wide, high, left: clientWidth / 2 - this.center[0] * wide, top: clientHeight / 2 - this.center[1] * high };
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const { wide, high, left, top } = this.place();
    return [((event.clientX - box.left - left) / wide) * this.size.width, ((event.clientY - box.top - top) / high) * this.size.height];
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    if (event.button === 1 || event.altKey || (event.button === 0 && this.isPanning)) this.drag = { from: [event.clientX, event.clientY], center: this.center };
    else this.onPoint(...this.at(event), event, "down");
  }

  move(event) {
    if (this.drag) {
      const { wide, high } = this.place();
      this.center = [this.drag.center[0] - (event.clientX - this.drag.from[0]) / wide, this.drag.center[1] - (event.clientY - this.drag.from[1]) / high];
      this.draw();
    } else this.onPoint(...this.at(event), event, "move");
  }

  up(event) {
    if (this.drag) this.drag = null;
    else this.onPoint(...this.at(event), event, "up");
  }

  pan(x, y) { this.center = [this.center[0] + x, this.center[1] + y]; this.draw(); }

  show(pictures) { this.pictures = pictures; this.draw(); }

  draw() {
    if (this.isDrawing) return;
    this.isDrawing = true;
    requestAnimationFrame(() => { this.isDrawing = false; this.paint(); });
  }

  paint() {
    const ratio = devicePixelRatio;
    const { clientWidth, clientHeight } = this.stage;
    if (this.canvas.width !== Math.round(clientWidth * ratio) || this.canvas.height !== Math.round(clientHeight * ratio)) {
      this.canvas.width = Math.round(clientWidth * ratio);
      this.canvas.height = Math.round(clientHeight * ratio);
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, clientWidth, clientHeight);
    const place = this.place();
    context.imageSmoothingEnabled = place.scale * ratio < 2;
    const edge = place.left + this.wipe * place.wide;
    const side = (index, from, to, alpha = 1) => this.side(context, place, index, from, to, alpha);
    if (this.mode === "wipe") {
      side(0, -Infinity, edge);
      side(1, edge, Infinity);
      context.fillStyle = "#ffd36b";
      context.fillRect(edge - 1, Math.max(place.top, 0), 2, Math.min(place.high, clientHeight));
    } else if (this.mode === "onion") {
      side(0, -Infinity, Infinity);
      side(1, -Infinity, Infinity, 0.5);
    } else side(this.mode === "B" ? 1 : 0, -Infinity, Infinity);
    this.onDraw(context, place);
  }

  side(context, place, index, from, to, alpha) {
    const picture = this.pictures[index];
    if (!picture) return;
    const left = Math.max(from, 0), right = Math.min(to, this.stage.clientWidth);
    if (right <= left) return;
    context.save();
    context.beginPath();
    context.rect(left, 0, right - left, this.stage.clientHeight);
    context.clip();
    context.globalAlpha = alpha;
    context.drawImage(picture, place.left, place.top, place.wide, place.high);
    if (this.tileAddress && picture.width < this.size.width && place.scale * devicePixelRatio * this.size.width > picture.width * 1.05)
      this.paintTiles(context, place, index);
    context.restore();
  }

  paintTiles(context, place, index) {
    const across = place.wide / this.size.width, down = place.high / this.size.height;
    const first = [Math.max(Math.floor(-place.left / across / TILE), 0), Math.max(Math.floor(-place.top / down / TILE), 0)];
    const last = [Math.min((this.stage.clientWidth - place.left) / across, this.size.width), Math.min((this.stage.clientHeight - place.top) / down, this.size.height)];
    for (let y = first[1]; y * TILE < last[1]; y++)
      for (let x = first[0]; x * TILE < last[0]; x++) {
        const width = Math.min(TILE, this.size.width - x * TILE), height = Math.min(TILE, this.size.height - y * TILE);
        const address = this.tileAddress(index, x * TILE, y * TILE, width, height);
        const held = address && this.tiles.get(address);
        if (held) context.drawImage(held, place.left + x * TILE * across, place.top + y * TILE * down, width * across, height * down);
        else if (address) this.want(address);
      }
  }

  want(address) {
    if (this.wanted.has(address)) return;
    const control = new AbortController();
    this.wanted.set(address, control);
    blob(address, control.signal).then(createImageBitmap).then((bitmap) => {
      this.tiles.set(address, bitmap);
      while (this.tiles.size > MAX_TILES) this.tiles.delete(this.tiles.keys().next().value);
      this.draw();
    }, () => {}).finally(() => this.wanted.delete(address));
  }

  // Tiles of another frame or look are not wanted any more.
  dropTiles() {
    for (const control of this.wanted.values()) control.abort();
    this.wanted.clear();
    this.tiles.clear();
  }
}
