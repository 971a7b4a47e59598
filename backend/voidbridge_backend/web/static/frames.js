// The frames of a shot as pictures: the newest wish first, requests for others are given up, the latest are kept.
import { blob } from "./common.js";

const MAX_KEPT = 90;
const AHEAD = 6;
const AT_ONCE = 3;

export class Frames {
  constructor(address, onShow, onError) {
    this.address = address; // (frame) -> [address of A, address of B or null]
    this.onShow = onShow;
    this.onError = onError;
    this.kept = new Map(); // address -> bitmap
    this.running = new Map(); // address -> AbortController
    this.frame = null;
    this.requests = 0;
  }

  addresses(frame) { return this.address(frame).filter(Boolean); }

  has(frame) { return this.addresses(frame).every((address) => this.kept.has(address)); }

  show(frame) {
    const [a, b] = this.address(frame);
    this.onShow(frame, [this.kept.get(a) ?? null, b ? this.kept.get(b) ?? null : null]);
  }

  // Shows this frame as soon as it can; `next` are frames that will probably follow.
  want(frame, next = []) {
    this.frame = frame;
    this.next = next.slice(0, AHEAD);
    const wanted = new Set([frame, ...this.next].flatMap((each) => this.addresses(each)));
    for (const [address, control] of this.running) if (!wanted.has(address)) { control.abort(); this.running.delete(address); }
    if (this.has(frame)) this.show(frame);
    this.fill();
  }

  fill() {
    for (const frame of [this.frame, ...(this.next ?? [])])
      for (const address of this.addresses(frame))
        if (!this.kept.has(address) && !this.running.has(address) && this.running.size < AT_ONCE) this.load(address, frame);
  }

  async load(address, frame) {
    const control = new AbortController();
    this.running.set(address, control);
    this.requests++;
    try {
      const bitmap = await createImageBitmap(await blob(address, control.signal));
      this.keep(address, bitmap);
    } catch (error) {
      if (error.name !== "AbortError" && frame === this.frame) this.onError(error);
      if (error.name !== "AbortError") this.running.delete(address);
      return;
    }
    this.running.delete(address);
    if (this.frame === frame && this.has(frame)) this.show(frame);
    this.fill();
  }

  keep(address, bitmap) {
    this.kept.set(address, bitmap);
    while (this.kept.size > MAX_KEPT) {
      const [oldest, old] = this.kept.entries().next().value;
      this.kept.delete(oldest);
      old.close();
    }
  }
}
