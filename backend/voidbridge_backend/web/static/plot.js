// A curve over frames as inline SVG. Its numbers are in the label, for those who do not see it.
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 420, HEIGHT = 130, LEFT = 52, RIGHT = 8, TOP = 10, BOTTOM = 22;

function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export const short = (number) => (number === 0 ? "0" : Math.abs(number) >= 0.01 && Math.abs(number) < 1e5
  ? String(Number(number.toPrecision(3))) : number.toExponential(1));

// points: [[frame, value or null], ...]; good: the value that stands for a perfect result
export function plot(name, points, good) {
  const known = points.filter(([, value]) => value !== null);
  const values = known.map(([, value]) => value).concat(good);
  let low = Math.min(...values), high = Math.max(...values);
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const [first, last] = [points[0][0], points.at(-1)[0]];
  const x = (frame) => LEFT + ((WIDTH - LEFT - RIGHT) * (frame - first)) / Math.max(last - first, 1);
  const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * (value - low)) / (high - low);
  const worst = known.reduce((far, point) => (Math.abs(point[1] - good) > Math.abs(far[1] - good) ? point : far), known[0] ?? [first, good]);
  const made = node("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
    "aria-label": `${name}, frames ${first} to ${last}: from ${short(low)} to ${short(high)}, farthest from ${short(good)} at frame ${worst[0]} with ${short(worst[1])}` });
  made.append(
    node("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(good), y2: y(good) }),
    node("text", { x: LEFT - 6, y: TOP + 6, "text-anchor": "end" }, short(high)),
    node("text", { x: LEFT - 6, y: HEIGHT - BOTTOM, "text-anchor": "end" }, short(low)),
    node("text", { x: LEFT, y: HEIGHT - 5 }, String(first)),
    node("text", { x: WIDTH - RIGHT, y: HEIGHT - 5, "text-anchor": "end" }, String(last)));
  let line = "", is_open = false;
  for (const [frame, value] of points) {
    if (value === null) { is_open = false; continue; }
    line += `${is_open ? "L" : "M"}${x(frame).toFixed(1)} ${y(value).toFixed(1)}`;
    is_open = true;
  }
  made.append(node("path", { class: "curve", d: line }));
  return made;
}
