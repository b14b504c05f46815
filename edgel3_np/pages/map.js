// A map of points: look at one to see what it is, click it to hear it.

const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#b8a800", "#8c564b", "#9467bd"];
const OTHER_COLOUR = "#888888";
const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, MARGIN] = [1000, 700, 20];
const points = items.sort((a, b) => a.number - b.number);
const status = make("p", { role: "status", id: "point" });
const svg = document.createElementNS(SVG, "svg");
const ring = document.createElementNS(SVG, "circle"); // around the chosen point
const hidden = new Set();
let chosen = null;

function setAll(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

function colourOf(group) {
  const place = about.groups.indexOf(group);
  return place < 0 || !group ? OTHER_COLOUR : COLOURS[place];
}

function build() {
  const label = "map of sounds: arrows move from point to point, space plays";
  setAll(svg, { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "map", tabindex: 0, role: "application", "aria-label": label });
  const radius = points.length > 2000 ? 3 : 6;
  setAll(ring, { class: "ring", r: radius + 2, visibility: "hidden" });
  const wide = points.reduce((most, point) => Math.max(most, point.x), 0);
  const high = points.reduce((most, point) => Math.max(most, point.y), 0);
  const scale = Math.min((WIDTH - 2 * MARGIN) / Math.max(wide, 1e-3), (HEIGHT - 2 * MARGIN) / Math.max(high, 1e-3));
  for (const point of points) {
    point.left = WIDTH / 2 + (point.x - wide / 2) * scale;
    point.top = HEIGHT / 2 - (point.y - high / 2) * scale;
    point.circle = document.createElementNS(SVG, "circle");
    setAll(point.circle, { cx: point.left, cy: point.top, r: radius, fill: colourOf(point.shown) });
    point.circle.onpointerenter = () => choose(point);
    point.circle.onclick = () => hear(point);
    svg.append(point.circle);
  }
  svg.append(ring);
  const purposes = [["arrows", "to the nearest"], ["[ ]", "to the one before, after"], ["space", "play"], ["click", "play"]];
  main.append(make("h1", {}, readable(about.title)), keys(...purposes), legend(), svg, status);
  main.append(...about.notes.map((note) => make("p", {}, readable(note))), make("footer", {}, `edgel3_np ${about.version}`));
}

function legend() {
  const line = make("div", { className: "legend", role: "group", "aria-label": "groups" });
  for (const group of [...about.groups, ...(about.other ? [null] : [])]) {
    const dot = make("i");
    dot.style.background = colourOf(group);
    const count = points.filter((point) => point.shown === group).length;
    const name = group === null ? "all others" : readable(group) || "no name";
    const button = make("button", { type: "button", "aria-pressed": "true" }, dot, `${name} (${count})`);
    button.onclick = () => toggle(group, button);
    line.append(button);
  }
  return line;
}

function toggle(group, button) {
  if (!hidden.delete(group)) hidden.add(group);
  button.setAttribute("aria-pressed", !hidden.has(group));
  for (const point of points) point.circle.classList.toggle("off", hidden.has(point.shown));
  ring.setAttribute("visibility", chosen && !hidden.has(chosen.shown) ? "visible" : "hidden");
}

function choose(point) {
  chosen = point;
  setAll(ring, { cx: point.left, cy: point.top, visibility: "visible" });
  const group = point.group ? `${point.group}: ` : "";
  const problem = point.problem || point.failure;
  status.textContent = readable(`${group}${point.path}, ${clock(point.begin)}${problem ? `. ${problem}` : ""}`);
}

function hear(point) {
  choose(point);
  play(point, point.begin, point.begin + 1);
}

player.onChange = (point) => {
  if (point === chosen) choose(point);
};

// The nearest point that lies more in this direction than beside it.
function neighbour(dx, dy) {
  const seen = points.filter((point) => !hidden.has(point.shown));
  if (!chosen) return seen[0];
  let best = null;
  for (const point of seen) {
    const [x, y] = [point.left - chosen.left, point.top - chosen.top];
    const [along, beside] = [x * dx + y * dy, Math.abs(x * dy) + Math.abs(y * dx)];
    const cost = along + 2 * beside;
    if (point !== chosen && along > 0 && along >= beside && (!best || cost < best.cost)) best = { point, cost };
  }
  return best && best.point;
}

// The next one in the order of the recordings: points that lie on each other are reached in this way.
function follower(step) {
  const seen = points.filter((point) => !hidden.has(point.shown));
  const place = seen.indexOf(chosen) + step;
  return seen[(place + seen.length) % seen.length];
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEPS = { "[": -1, PageUp: -1, "]": 1, PageDown: 1 };
svg.addEventListener("keydown", (event) => {
  const { key } = event;
  const isOurs = key in ARROWS || key in STEPS || key === " " || key === "Enter";
  if (!isOurs || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  if (key === " " || key === "Enter") {
    if (chosen) hear(chosen);
    return;
  }
  const next = key in ARROWS ? neighbour(...ARROWS[key]) : follower(STEPS[key]);
  if (next) choose(next);
});
build();
svg.focus();
