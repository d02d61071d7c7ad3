// Small pictures as SVG, drawn from numbers; text goes in as text, never as markup.

const NAMESPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 220, LEFT = 52, RIGHT = 12, TOP = 8, BOTTOM = 24;
let WIDTH = 720; // of the page, so that a letter is as large on a phone
export const fit = (width) => { WIDTH = Math.max(300, width); };
const MOST_SHADE = 40; // per cent above 10: with more, numbers would have less than 4.5 : 1 of contrast on dark paper
export const COLOURS = [0, 1, 2, 3, 4, 5, 6, 7].map((number) => `var(--c${number})`);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "colour") made.style.background = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function shape(name, attributes, text) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export function empty(words) {
  return element("p", { class: "empty" }, words);
}

export function legend(entries) {
  const items = entries.map(({ name, colour }) => element("li", {}, element("i", { colour }), name));
  return element("ul", { class: "legend" }, ...items);
}

function frame(label) {
  return shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
}

// Round steps of 1, 2 or 5 times a power of ten, about four of them.
function ticks(low, high) {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

const labelEvery = (days) => Math.max(1, Math.ceil((days.length * 60) / WIDTH));

function axes(svg, days, low, high, format) {
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low);
  const x = (place) => LEFT + (WIDTH - LEFT - RIGHT) * (days.length === 1 ? 0.5 : place / (days.length - 1));
  for (const tick of ticks(low, high)) {
    svg.append(shape("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick), class: "axis" }));
    svg.append(shape("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, format(tick)));
  }
  const every = labelEvery(days);
  days.forEach((day, place) => {
    if (place % every === 0) svg.append(shape("text", { x: x(place), y: HEIGHT - 6, "text-anchor": "middle" }, day.slice(5)));
  });
  return { x, y };
}

// series: [{name, colour, points: Map(day -> {mean, lower, upper})}]
export function lines(label, days, series, format) {
  const numbers = series.flatMap((one) => [...one.points.values()].flatMap((p) => [p.mean, p.lower ?? p.mean, p.upper ?? p.mean]));
  let low = Math.min(0, ...numbers), high = Math.max(0, ...numbers);
  if (low === high) high = low + 1;
  const svg = frame(label), { x, y } = axes(svg, days, low, high, format);
  for (const { name, colour, points } of series) {
    const known = days.map((day, place) => ({ place, day, ...points.get(day) })).filter((one) => one.mean !== undefined);
    const shaded = known.filter((one) => one.lower !== null && one.lower !== undefined);
    if (shaded.length > 1) {
      const upper = shaded.map((one) => `${x(one.place)},${y(one.upper)}`);
      const lower = shaded.map((one) => `${x(one.place)},${y(one.lower)}`).reverse();
      svg.append(shape("polygon", { points: [...upper, ...lower].join(" "), fill: colour, opacity: 0.15 }));
    }
    svg.append(shape("polyline", { points: known.map((one) => `${x(one.place)},${y(one.mean)}`).join(" "), fill: "none", stroke: colour, "stroke-width": 2 }));
    for (const one of known) {
      const dot = shape("circle", { cx: x(one.place), cy: y(one.mean), r: 3, fill: colour });
      dot.append(shape("title", {}, `${name}, ${one.day}: ${format(one.mean)}${one.n ? ` (${one.n} decisions)` : ""}`));
      svg.append(dot);
    }
  }
  return [svg, legend(series)];
}

// parts: [{name, colour, counts: Map(day -> number)}], stacked to shares of each day
export function shares(label, days, parts) {
  const svg = frame(label), { y } = axes(svg, [], 0, 1, (value) => `${Math.round(value * 100)} %`);
  const slot = (WIDTH - LEFT - RIGHT) / days.length, every = labelEvery(days);
  days.forEach((day, place) => {
    const total = parts.reduce((sum, part) => sum + (part.counts.get(day) ?? 0), 0);
    let below = 0;
    for (const { name, colour, counts } of parts) {
      const share = total ? (counts.get(day) ?? 0) / total : 0;
      const bar = shape("rect", { x: LEFT + place * slot + slot * 0.05, width: slot * 0.9, y: y(below + share), height: y(below) - y(below + share), fill: colour });
      bar.append(shape("title", {}, `${name}, ${day}: ${(share * 100).toFixed(1)} %`));
      svg.append(bar);
      below += share;
    }
    if (place % every === 0) svg.append(shape("text", { x: LEFT + (place + 0.5) * slot, y: HEIGHT - 6, "text-anchor": "middle" }, day.slice(5)));
  });
  return [svg, legend(parts)];
}

// cells: Map("channel hour" -> {shown, strength in [0, 1], title})
export function heat(channels, hours, cells) {
  const head = element("tr", {}, element("td"), ...hours.map((hour) => element("th", { scope: "col" }, String(hour))));
  const rows = channels.map((channel) => element("tr", {}, element("th", { scope: "row" }, channel), ...hours.map((hour) => {
    const cell = cells.get(`${channel} ${hour}`);
    const box = element("td", cell ? { title: cell.title } : {}, cell ? cell.shown : "");
    if (cell) box.style.background = `color-mix(in srgb, var(--c0) ${Math.round(10 + MOST_SHADE * cell.strength)}%, var(--paper))`;
    return box;
  })));
  return element("table", { class: "heat" }, element("thead", {}, head), element("tbody", {}, ...rows));
}

// rows: [[name, cell, ...]], as text
export function table(head, rows) {
  const body = rows.map(([name, ...cells]) => element("tr", {}, element("th", { scope: "row" }, name), ...cells.map((cell) => element("td", {}, cell))));
  return element("table", { class: "numbers" }, element("thead", {}, element("tr", {}, ...head.map((one) => element("th", { scope: "col" }, one)))), element("tbody", {}, ...body));
}

// Children that show the same stay where they are, with the focus that they have.
export function keep(parent, items, make) {
  const texts = items.map((item) => JSON.stringify(item)), wanted = new Set(texts);
  for (const child of [...parent.children]) if (!wanted.has(child.shows)) child.remove();
  const kept = new Map([...parent.children].map((child) => [child.shows, child]));
  items.forEach((item, place) => {
    const child = kept.get(texts[place]) ?? Object.assign(make(item), { shows: texts[place] });
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
}
