// Drawing on a canvas: lines over time with bands and alarms, and grids of units.

const CHANNEL_COLORS = 8;

let colors = new Map();
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { colors = new Map(); });

/** A colour of the style sheet. */
export function color(name) {
  if (!colors.has(name)) colors.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return colors.get(name);
}
/** The name of a channel's colour in the style sheet. */
export const channelColor = (index) => `--channel-${index % CHANNEL_COLORS}`;
export const lineColor = (index) => color(channelColor(index));

/** Fit a canvas to its size on the screen. Returns its context in CSS pixels, and its size. */
function fit(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** A value of a row of outputs; of a forecast over a horizon, that for the next sample. */
export function at(values, i) {
  if (values === undefined || values === null) return null;
  const found = Array.isArray(values) ? values : [values];
  return Array.isArray(found[0]) ? found[0][i] : found[i];
}

/** Smallest and largest of the finite numbers in lists, a little apart. */
export function extent(lists) {
  let low = Infinity;
  let high = -Infinity;
  for (const list of lists) {
    for (const value of list) {
      if (value === null || value === undefined) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (low > high) return [0, 1];
  const space = (high - low || Math.abs(high) || 1) * 0.05;
  return [low - space, high + space];
}

/** Draw values as one line over the whole canvas, without axes. range: [low, high]. */
export function profile(canvas, values, range) {
  sparkline(canvas, values.map((value) => (value - range[0]) / (range[1] - range[0] || 1)));
}

export function sparkline(canvas, values) {
  const { context, width, height } = fit(canvas);
  context.strokeStyle = color("--accent");
  context.beginPath();
  values.forEach((value, i) => {
    const x = (i / Math.max(values.length - 1, 1)) * width;
    const y = height - 1 - value * (height - 2);
    if (i === 0) context.moveTo(x, y);
    else context.lineTo(x, y);
  });
  context.stroke();
}

/**
 * Draw lines over sample numbers.
 * lines: [{values, color, dashed}]; bands: [{lower, upper, color}]; marks: [[first, last]] of alarms;
 * range: [low, high] or null; selected: [from, to] in sample numbers or null.
 */
export function chart(canvas, numbers, { lines, bands = [], marks = [], range = null, selected = null }) {
  const { context, width, height } = fit(canvas);
  if (numbers.length < 2) return null;
  const [first, last] = [numbers[0], numbers[numbers.length - 1]];
  const [low, high] = range ?? extent([...lines.map((each) => each.values), ...bands.flatMap((b) => [b.lower, b.upper])]);
  const left = 52;
  const x = (n) => left + ((n - first) / (last - first || 1)) * (width - left);
  const y = (v) => height - 14 - ((v - low) / (high - low || 1)) * (height - 20);
  for (const [from, to] of marks) {
    context.fillStyle = `${color("--alarm")}33`;
    context.fillRect(x(Math.max(from, first)), 0, Math.max(x(Math.min(to, last)) - x(Math.max(from, first)), 2), height - 14);
  }
  if (selected) {
    context.fillStyle = color("--band");
    context.fillRect(x(selected[0]), 0, x(selected[1]) - x(selected[0]), height - 14);
  }
  for (const band of bands) {
    context.fillStyle = `${band.color}33`;
    context.beginPath();
    const rows = numbers.map((n, i) => i).filter((i) => band.lower[i] != null && band.upper[i] != null);
    rows.forEach((i, k) => (k ? context.lineTo(x(numbers[i]), y(band.upper[i])) : context.moveTo(x(numbers[i]), y(band.upper[i]))));
    for (const i of rows.reverse()) context.lineTo(x(numbers[i]), y(band.lower[i]));
    context.fill();
  }
  const steps = numbers.slice(1).map((n, i) => n - numbers[i]);
  const gap = Math.max(5, 3 * Math.min(...steps)); // between two events that are shown; no line crosses it
  for (const line of lines) {
    context.strokeStyle = line.color;
    context.setLineDash(line.dashed ? [4, 3] : []);
    context.beginPath();
    let pen = false;
    numbers.forEach((n, i) => {
      const value = line.values[i];
      if (value == null) pen = false;
      else if (pen && n - numbers[i - 1] <= gap) context.lineTo(x(n), y(value));
      else {
        context.moveTo(x(n), y(value));
        pen = true;
      }
    });
    context.stroke();
  }
  context.setLineDash([]);
  context.fillStyle = color("--soft");
  context.font = "11px system-ui";
  context.textAlign = "right";
  for (const value of [low, (low + high) / 2, high]) context.fillText(short(value), left - 6, Math.min(Math.max(y(value) + 4, 10), height - 14));
  context.textAlign = "left";
  context.fillText(String(first), left, height - 2);
  context.textAlign = "right";
  context.fillText(String(last), width - 2, height - 2);
  return { number: (pixel) => first + ((pixel - left) / (width - left)) * (last - first) };
}

/** Let the user drag a window on a chart. Calls `done(from, to)` with sample numbers. */
export function selectable(canvas, scale, done) {
  let from = null;
  canvas.addEventListener("pointerdown", (event) => {
    const found = scale();
    if (!found) return;
    from = found.number(event.offsetX);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", (event) => {
    const found = scale();
    if (from === null || !found) return;
    const to = found.number(event.offsetX);
    done(Math.floor(Math.min(from, to)), Math.ceil(Math.max(from, to)));
    from = null;
  });
}

const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

function ramp(share) {
  const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const i = Math.min(Math.floor(place), RAMP.length - 2);
  const part = RAMP[i].map((value, k) => Math.round(value + (place - i) * (RAMP[i + 1][k] - value)));
  return `rgb(${part.join(",")})`;
}

/** Centre of a unit, in units of a cell; rows of a hexagonal grid are shifted by half a cell. */
function centre(row, column, hexagonal) {
  return hexagonal ? [column + 0.5 + (row % 2 ? 0.5 : 0), row * 0.866 + 0.577] : [column + 0.5, row + 0.5];
}

const bitmaps = new WeakMap(); // canvas: its cells as a picture, which changes only with the values

/** Draw a grid of values. path: winners [row, column], oldest first; hover: [row, column] or null. */
export function grid(canvas, values, { hexagonal = false, path = [], hover = null, labels = null }) {
  const { context, width, height } = fit(canvas);
  if (!width || !height) return () => null;
  const shape = { rows: values.length, columns: values[0].length, hexagonal };
  shape.cell = Math.min(
    width / (shape.columns + (hexagonal ? 0.5 : 0)), height / (hexagonal ? shape.rows * 0.866 + 0.289 : shape.rows));
  const paper = color("--panel");
  let drawn = bitmaps.get(canvas);
  if (drawn?.values !== values || drawn.labels !== labels || drawn.paper !== paper || drawn.width !== canvas.width) {
    drawn = { values, labels, paper, width: canvas.width, picture: cells(canvas, values, labels, shape) };
    bitmaps.set(canvas, drawn);
  }
  context.drawImage(drawn.picture, 0, 0, width, height);
  path.forEach(([row, column], i) => {
    if (!i) return;
    const [x0, y0] = place(shape, ...path[i - 1]);
    const [x1, y1] = place(shape, row, column);
    context.strokeStyle = `rgba(255,255,255,${(0.9 * i) / path.length})`;
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
  });
  context.lineWidth = 2;
  for (const [each, stroke] of [[path[path.length - 1], "#fff"], [hover, color("--alarm")]]) {
    if (!each) continue;
    outline(context, shape, ...each);
    context.strokeStyle = stroke;
    context.stroke();
  }
  context.lineWidth = 1;
  return (x, y) => nearest(shape, x, y);
}

/** Draw the cells of a grid, with their labels, on a canvas that is not shown. */
function cells(canvas, values, labels, shape) {
  const picture = new OffscreenCanvas(canvas.width, canvas.height);
  const context = picture.getContext("2d");
  const ratio = canvas.width / canvas.clientWidth;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const [low, high] = extent(values);
  values.forEach((line, row) => line.forEach((value, column) => {
    outline(context, shape, row, column);
    context.fillStyle = value === null ? color("--panel") : ramp((value - low) / (high - low || 1));
    context.fill();
    const label = labels?.[row]?.[column];
    if (label !== undefined && label !== null && label !== -1 && label !== "") {
      context.fillStyle = "#fff";
      context.strokeStyle = "#000"; // white text is not read on a bright cell
      context.lineWidth = 3;
      context.textAlign = "center";
      context.font = `${Math.min(shape.cell * 0.5, 14)}px system-ui`;
      const [x, y] = place(shape, row, column);
      const half = context.measureText(String(label)).width / 2;
      const inside = Math.max(half, Math.min(x, canvas.clientWidth - half));
      context.strokeText(String(label), inside, y + shape.cell * 0.15);
      context.fillText(String(label), inside, y + shape.cell * 0.15);
    }
  }));
  return picture;
}

const place = ({ cell, hexagonal }, row, column) => centre(row, column, hexagonal).map((value) => value * cell);

function outline(context, shape, row, column) {
  const [x, y] = place(shape, row, column);
  const { cell } = shape;
  context.beginPath();
  if (!shape.hexagonal) {
    context.rect(x - cell / 2, y - cell / 2, cell, cell);
    return;
  }
  for (let k = 0; k < 6; k += 1) {
    const angle = (Math.PI / 3) * k + Math.PI / 6;
    context.lineTo(x + 0.577 * cell * Math.cos(angle), y + 0.577 * cell * Math.sin(angle));
  }
  context.closePath();
}

/** The unit at a place of the canvas, or null. */
function nearest(shape, x, y) {
  let best = null;
  let least = shape.cell * shape.cell;
  for (let row = 0; row < shape.rows; row += 1) {
    for (let column = 0; column < shape.columns; column += 1) {
      const [px, py] = place(shape, row, column);
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least) [best, least] = [[row, column], distance];
    }
  }
  return best;
}

/** A number in few digits. */
export function short(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  return Number(value.toPrecision(4)).toString();
}
