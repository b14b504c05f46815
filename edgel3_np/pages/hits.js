// A page of hits: hear each, answer, and save the answers as a table of labels.

const ANSWERS = ["yes", "no", "unsure"];
const ORDERS = {
  "best score first": (a, b) => a.number - b.number,
  "lowest score first": (a, b) => b.number - a.number,
  "recording and time": (a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : a.start - b.start),
};
const query = items.find((item) => item.number === 0);
const hits = items.filter((item) => item.number > 0).sort(ORDERS["best score first"]);
const store = `edgel3_np hits ${about.key}`;
let kept = {}; // what an earlier visit has answered: { number: [answer, label] }
let saved = true;
let current = hits[0];
try {
  kept = JSON.parse(localStorage.getItem(store)) || {};
} catch {
  // a browser may refuse to keep anything
}

const shared = sharedFolder(hits.map((hit) => hit.path));
const named = hits.every((hit) => hit.label);
const nameField = make("input", { type: "text", id: "name", value: kept.name || "", placeholder: "dog" });
const nextBox = make("input", { type: "checkbox", id: "next", checked: true });
const order = make("select", { id: "order" }, ...Object.keys(ORDERS).map((name) => make("option", {}, name)));
const save = make("button", { id: "save", type: "button" }, "Save labels (CSV)");
const count = make("span", { id: "count", role: "status" });
const list = make("ol", { id: "hits" });

function sharedFolder(paths) {
  let folder = paths.length ? paths[0] : "";
  while (folder && !paths.every((path) => path.startsWith(folder))) folder = folder.slice(0, -1);
  return folder.slice(0, Math.max(folder.lastIndexOf("/"), folder.lastIndexOf("\\")) + 1);
}

function build() {
  const bar = make("div", { className: "bar" });
  if (!named) bar.append(make("label", {}, "The sound is called ", nameField));
  bar.append(save, count, make("label", {}, nextBox, " play the next one after an answer"));
  bar.append(make("label", {}, "order: ", order));
  const purposes = [["space", "play"], ["c", "play with what is around it"], ["y", "yes"], ["n", "no"], ["u", "unsure"]];
  purposes.push(["j", "next"], ["k", "previous"], ["l", "other label"], ["s", "save"]);
  const header = make("header", {}, make("h1", {}, about.title), keys(...purposes), bar);
  const closing = "Yes: the sound is heard between the marks. No: it is not; if you know what it is instead, write that " +
    "into the field and answer yes. edgel3-np train takes a no as an example of sound without any class, unless another " +
    "answer names one, and leaves out what is unsure or has no answer. Train with the saved file beside your other labels.";
  main.append(header, make("p", {}, closing));
  if (query) main.append(make("h2", {}, "What was searched for"), card(query, "div"), make("h2", {}, "Hits"));
  if (!hits.length) main.append(make("p", {}, "There are no hits."));
  const names = about.labels.map((label) => make("option", { value: label }));
  main.append(list, make("datalist", { id: "labels" }, ...names), make("footer", {}, `edgel3_np ${about.version}`));
  for (const hit of hits) list.append(card(hit, "li"));
  for (const hit of hits) [hit.answer, hit.field.value] = kept[hit.number] || [undefined, hit.label];
  hits.forEach(show);
  tell();
  if (current) choose(current, false);
}

function card(item, tag) {
  item.playButton = make("button", { type: "button", className: "play" }, "Play");
  item.playButton.onclick = () => (player.item === item ? stop() : hear(item));
  item.playButton.disabled = !item.image;
  item.problemLine = make("p", { className: "problem", role: "alert" }, item.problem || "");
  const score = item.score === null ? "" : item.score.toFixed(3);
  const title = make("p", { className: "title" }, make("b", {}, [item.label, score].filter(Boolean).join(" ")));
  item.end ??= Math.min(item.heardEnd, item.begin + (item.length || 0)); // of a recording that is asked about as a whole
  const time = `${clock(item.start)} to ${clock(item.end)}`;
  const heard = item.heardEnd < item.end ? `; you hear the first ${(item.heardEnd - item.start).toFixed(0)} s` : "";
  const where = make("p", {}, make("span", { className: "name", title: item.path }, shortName(item.path)), ` ${time}${heard}`);
  const buttons = make("div", { className: "buttons" }, item.playButton);
  const text = make("div", { className: "text" }, title, where, buttons, item.problemLine);
  item.card = make(tag, { className: "hit", tabIndex: -1 }, picture(item), text);
  if (item === query) return item.card;
  title.prepend(`${item.number}. `);
  item.buttons = ANSWERS.map((answer) => make("button", { type: "button", className: answer }, answer));
  item.buttons.forEach((button, place) => (button.onclick = () => reply(item, ANSWERS[place], false)));
  item.field = make("input", { type: "text", list: "labels", placeholder: "label", "aria-label": "label of yes" });
  item.field.oninput = () => remember(item);
  buttons.append(...item.buttons, item.field);
  item.card.onfocus = () => choose(item, false);
  item.card.onpointerdown = () => choose(item, false);
  return item.card;
}

function shortName(path) {
  return path.startsWith(shared) ? path.slice(shared.length) : path;
}

function picture(item) {
  if (!item.image) return make("div", { className: "picture" });
  const image = make("img", { src: `data:image/png;base64,${item.image}`, width: 240, height: 72 });
  image.alt = `spectrogram of ${item.length.toFixed(1)} s, 0 to ${Math.round(item.top)} Hz`;
  image.title = image.alt;
  const share = (time) => `${Math.min(100, Math.max(0, (100 * (time - item.begin)) / item.length))}%`;
  const span = make("div", { className: "span" });
  span.style.left = share(item.start);
  span.style.right = `calc(100% - ${share(item.end)})`;
  item.head = make("div", { className: "head", hidden: true });
  item.moveHead = (time) => (item.head.style.left = share(time));
  return make("div", { className: "picture" }, image, span, item.head);
}

function hear(item, around = false) {
  if (around) play(item, item.begin, item.begin + item.length);
  else play(item, item.start, item.heardEnd);
}

player.onChange = (item, time) => {
  const playing = player.item === item;
  item.playButton.textContent = playing ? "Stop" : "Play";
  if (item.head) item.head.hidden = !playing || time === undefined;
  if (playing && time !== undefined) item.moveHead(time);
  if (item.problem) item.problemLine.textContent = item.problem;
};

function reply(item, answer, advance) {
  item.answer = item.answer === answer ? undefined : answer;
  remember(item);
  show(item);
  if (!item.answer || !advance) return;
  const shown = shownHits();
  const left = shown.slice(shown.indexOf(item) + 1).find((hit) => !hit.answer);
  if (!left) return;
  choose(left, true);
  if (nextBox.checked) hear(left);
}

function remember(item) {
  kept[item.number] = [item.answer, item.field.value];
  saved = false;
  keep();
}

function keep() {
  try {
    localStorage.setItem(store, JSON.stringify({ ...kept, name: nameField.value }));
  } catch {
    // the warning before the page is left is all there is
  }
  tell();
}

function show(item) {
  item.card.dataset.answer = item.answer || "";
  item.buttons.forEach((button, place) => button.setAttribute("aria-pressed", ANSWERS[place] === item.answer));
}

function tell(text) {
  const answered = hits.filter((hit) => hit.answer).length;
  count.textContent = text || `${answered} of ${hits.length} answered${saved ? "" : ", not saved"}`;
}

function choose(item, focus) {
  if (current) current.card.classList.remove("current");
  current = item;
  item.card.classList.add("current");
  item.card.tabIndex = 0;
  for (const hit of hits) if (hit !== item) hit.card.tabIndex = -1;
  if (focus) item.card.focus();
  if (focus) item.card.scrollIntoView({ block: "nearest" });
}

function shownHits() {
  return [...list.children].map((element) => hits.find((hit) => hit.card === element));
}

function move(step) {
  const shown = shownHits();
  const place = shown.indexOf(current) + step;
  if (shown[place]) choose(shown[place], true);
}

// The rows of a hit: what it was taken for, and what it is instead, if somebody says so.
function rowsOf(hit) {
  const claimed = hit.label || nameField.value.trim();
  const label = hit.field.value.trim() || claimed;
  const row = (name, answer) => [hit.path, hit.start, hit.heardEnd, name, hit.score ?? "", answer];
  if (hit.answer !== "yes" || label === claimed) return [row(claimed, hit.answer || "")];
  return claimed ? [row(label, "yes"), row(claimed, "no")] : [row(label, "yes")];
}

function asCsv() {
  const cell = (value) => (/[",\r\n;\t]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const rows = hits.flatMap(rowsOf);
  return [["path", "start", "end", "label", "score", "answer"], ...rows].map((row) => row.map(cell).join(",") + "\n").join("");
}

function download() {
  const answered = hits.filter((hit) => hit.answer);
  if (!answered.length) return tell("There is nothing to save: answer a hit first.");
  const nameless = answered.find((hit) => !rowsOf(hit)[0][3]);
  if (nameless) {
    tell("Say first what the sound is called.");
    return nameField.focus();
  }
  const url = URL.createObjectURL(new Blob([asCsv()], { type: "text/csv" }));
  make("a", { href: url, download: "labels.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  saved = true;
  tell(`${answered.length} answers are saved as labels.csv, where this browser puts downloads.`);
}

const COMMANDS = {
  " ": () => (player.item === current ? stop() : hear(current)),
  c: () => hear(current, true),
  y: () => reply(current, "yes", true),
  n: () => reply(current, "no", true),
  u: () => reply(current, "unsure", true),
  j: () => move(1),
  ArrowDown: () => move(1),
  k: () => move(-1),
  ArrowUp: () => move(-1),
  l: () => current.field.focus(),
  s: download,
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" || (event.key === "Enter" && isTyping(event.target))) return current && choose(current, true);
  const isButton = event.target.matches("button, input[type=checkbox]") && event.key === " ";
  const other = event.ctrlKey || event.altKey || event.metaKey || isTyping(event.target) || isButton;
  const command = COMMANDS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (other || !command || !current) return;
  event.preventDefault();
  command();
});
window.addEventListener("beforeunload", (event) => {
  if (!saved) event.preventDefault();
});
save.onclick = download;
nameField.oninput = keep;
order.onchange = () => {
  for (const hit of [...hits].sort(ORDERS[order.value])) list.append(hit.card);
};
build();
