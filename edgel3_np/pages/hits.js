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
let kept = load(); // answers, here and in an earlier visit: { number: [answer, label], name, saved }
let current = hits[0];
let shown = [...hits]; // in the order that is chosen

const shared = sharedFolder(hits.map((hit) => hit.path));
const named = hits.every((hit) => hit.label);
const nameField = make("input", { type: "text", id: "name", placeholder: "dog", maxLength: 100 });
const nextBox = make("input", { type: "checkbox", id: "next", checked: true });
const order = make("select", { id: "order" }, ...Object.keys(ORDERS).map((name) => make("option", {}, name)));
const save = make("button", { id: "save", type: "button" }, "Save labels (CSV)");
const count = make("span", { id: "count", role: "status" });
const list = make("ol", { id: "hits" });

function load() {
  try {
    const found = JSON.parse(localStorage.getItem(store));
    return found && typeof found === "object" ? found : {};
  } catch {
    return {}; // a browser may refuse to keep anything
  }
}

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
  const purposes = [["space", "play"], ["c", "play with the seconds around"], ["y", "yes"], ["n", "no"], ["u", "unsure"]];
  purposes.push(["j", "next"], ["k", "previous"], ["l", "change the label"], ["s", "save"]);
  const header = make("header", {}, make("h1", {}, readable(about.title)), keys(...purposes), bar);
  const closing = "Yes: the sound is heard (nearly) all the time between the marks. Unsure: in a part of it, or you cannot tell. " +
    "No: it is not heard; if it is another sound that you know, change the label and answer yes. edgel3-np train takes a no as an example of sound without any class, unless another " +
    "answer names one, and leaves out what is unsure or has no answer. Train with the saved file beside your other labels.";
  main.append(header, make("p", {}, closing));
  if (query) main.append(make("h2", {}, "What was searched for"), card(query, "div"), make("h2", {}, "Hits"));
  if (!hits.length) main.append(make("p", {}, "There are no hits."));
  const names = about.labels.map((label) => make("option", { value: label }));
  main.append(list, make("datalist", { id: "labels" }, ...names), make("footer", {}, `edgel3_np ${about.version}`));
  for (const hit of hits) list.append(card(hit, "li"));
  recall();
  if (current) choose(current, false);
  if (!named && !nameField.value) nameField.focus(); // the name first, then Enter
}

// Show the answers that are kept.
function recall() {
  nameField.value = typeof kept.name === "string" ? kept.name : "";
  for (const hit of hits) {
    const [answer, label] = Array.isArray(kept[hit.number]) ? kept[hit.number] : [];
    hit.answer = ANSWERS.includes(answer) ? answer : undefined;
    hit.field.value = typeof label === "string" ? label : hit.label;
    show(hit);
  }
  tell();
}

function card(item, tag) {
  const called = item === query ? "what was searched for" : `hit ${item.number}`;
  item.playButton = make("button", { type: "button", className: "play", "aria-label": `Play ${called}` }, "Play");
  item.playButton.onclick = () => (player.item === item ? stop() : hear(item));
  item.playButton.disabled = !item.image;
  item.problemLine = make("p", { className: "problem", role: "alert" }, readable(item.problem || ""));
  const score = item.score === null ? "" : item.score.toFixed(3);
  const title = make("p", { className: "title" }, make("b", {}, [readable(item.label), score].filter(Boolean).join(" ")));
  item.end ??= Math.min(item.heardEnd, item.begin + (item.length || 0)); // of a recording that is asked about as a whole
  const time = `${clock(item.start)} to ${clock(item.end)}`;
  const heard = item.heardEnd < item.end ? `; you hear the first ${(item.heardEnd - item.start).toFixed(0)} s` : "";
  const where = make("p", {}, make("bdi", { className: "name", title: readable(item.path) }, readable(shortName(item.path))), ` ${time}${heard}`);
  const buttons = make("div", { className: "buttons" }, item.playButton);
  const text = make("div", { className: "text" }, title, where, buttons, item.problemLine);
  item.card = make(tag, { className: "hit", tabIndex: -1 }, picture(item), text);
  if (item === query) return item.card;
  title.prepend(`${item.number}. `);
  item.card.setAttribute("aria-label", `${called}: ${title.textContent}, ${where.textContent}`);
  item.buttons = ANSWERS.map((answer) => make("button", { type: "button", className: answer }, answer));
  item.buttons.forEach((button, place) => {
    button.setAttribute("aria-label", `${ANSWERS[place]}, ${called}`);
    button.disabled = !item.path;
    button.onclick = () => {
      reply(item, ANSWERS[place], false);
      choose(item, true); // so that space plays and does not press the button again
    };
  });
  item.field = make("input", { type: "text", list: "labels", placeholder: "label", maxLength: 100 });
  item.field.setAttribute("aria-label", `label, ${called}`);
  item.field.oninput = () => remember(item);
  buttons.append(...item.buttons, item.field);
  item.card.addEventListener("focusin", () => choose(item, false));
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
  item.problemLine.textContent = readable(item.problem || item.failure || "");
  if (item.head) item.head.hidden = !playing || time === undefined;
  if (playing && time !== undefined) item.moveHead(time);
};

function reply(item, answer, advance) {
  if (!item.path) return; // an unknown recording is no example
  item.answer = item.answer === answer ? undefined : answer;
  remember(item);
  show(item);
  if (!item.answer || !advance) return;
  const left = shown.slice(shown.indexOf(item) + 1).find((hit) => !hit.answer && hit.path);
  if (!left) return;
  choose(left, true);
  if (nextBox.checked) hear(left);
}

function remember(item) {
  keep({ [item.number]: [item.answer, item.field.value] });
}

// Keep a change, beside what the same page keeps in another window.
function keep(change) {
  kept = { ...kept, ...load(), saved: false, ...change };
  try {
    localStorage.setItem(store, JSON.stringify(kept));
  } catch {
    // the question before the page is left is all there is
  }
  tell();
}

function show(item) {
  item.card.dataset.answer = item.answer || "";
  item.buttons.forEach((button, place) => button.setAttribute("aria-pressed", ANSWERS[place] === item.answer));
}

function tell(text) {
  const answered = hits.filter((hit) => hit.answer).length;
  count.textContent = text || `${answered} of ${hits.length} answered${answered && !kept.saved ? ", not saved" : ""}`;
}

function choose(item, focus) {
  current.card.classList.remove("current");
  current.card.tabIndex = -1;
  current = item;
  item.card.classList.add("current");
  item.card.tabIndex = 0;
  if (focus) item.card.focus();
  if (focus) item.card.scrollIntoView({ block: "nearest" });
}

function move(step) {
  const next = shown[shown.indexOf(current) + step];
  if (next) choose(next, true);
}

// The rows of a hit: what it was taken for, and what it is instead, if somebody says so.
function rowsOf(hit) {
  const claimed = hit.label || tidy(nameField.value);
  const label = tidy(hit.field.value) || claimed;
  const row = (name, answer) => [hit.path, hit.start, hit.heardEnd, name, hit.score ?? "", answer];
  if (hit.answer !== "yes" || label === claimed) return [row(claimed, hit.answer || "")];
  return claimed ? [row(label, "yes"), row(claimed, "no")] : [row(label, "yes")];
}

function asCsv() {
  const cell = (value) => (/[",\r\n;\t]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const rows = hits.flatMap(rowsOf).filter((row) => row[0] && row[3]);
  return [["path", "start", "end", "label", "score", "answer"], ...rows].map((row) => row.map(cell).join(",") + "\n").join("");
}

function tidy(label) {
  return label.replace(/\s+/gu, " ").trim();
}

// What is wrong with a label, as edgel3-np train sees it.
function labelProblem(label) {
  if (!label) return "Say first what the sound is called.";
  if (label.startsWith("-")) return "A label does not begin with -.";
  if (/[\p{C}\p{Z}]/u.test(label.replaceAll(" ", "")) || label.length > 100) return "A label has up to 100 visible letters.";
  return "";
}

function download() {
  const answered = hits.filter((hit) => hit.answer);
  if (!answered.length) return tell("There is nothing to save: answer a hit first.");
  for (const hit of answered) {
    const problem = rowsOf(hit).map((row) => labelProblem(row[3])).find(Boolean);
    if (problem) {
      tell(problem);
      return (hit.label || tidy(hit.field.value) ? hit.field : nameField).focus();
    }
  }
  const url = URL.createObjectURL(new Blob([asCsv()], { type: "text/csv" }));
  make("a", { href: url, download: about.file }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  keep({ saved: true });
  tell(`${about.file}, with ${answered.length} answers, goes where this browser puts downloads (it may add a number).`);
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
  l: () => current.field.select(),
  s: download,
};

document.addEventListener("keydown", (event) => {
  if (!current) return;
  const { key, target } = event;
  if (key === "Escape" || (key === "Enter" && isTyping(target))) return choose(current, true);
  const name = key.length === 1 ? key.toLowerCase() : key;
  const isButton = target.matches("button, input[type=checkbox]") && name === " ";
  const other = event.ctrlKey || event.altKey || event.metaKey || isTyping(target) || isButton;
  const held = event.repeat && !["j", "k", "ArrowDown", "ArrowUp"].includes(name);
  if (other || !(name in COMMANDS)) return;
  event.preventDefault();
  if (!held) COMMANDS[name]();
});
window.addEventListener("beforeunload", (event) => {
  if (hits.some((hit) => hit.answer) && !kept.saved) event.preventDefault();
});
window.addEventListener("storage", (event) => {
  if (event.key !== store) return;
  kept = { ...kept, ...load() };
  recall();
});
save.onclick = download;
nameField.oninput = () => keep({ name: nameField.value });
order.onchange = () => {
  shown = [...hits].sort(ORDERS[order.value]);
  list.append(...shown.map((hit) => hit.card));
  if (current) choose(current, true); // keys are for the hits again
};
build();
