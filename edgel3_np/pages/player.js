// One player for the page: it plays a stretch of an item, and stops.

const audio = new Audio();
const player = { item: null, timer: 0, onChange: () => {} };

function urlOf(item) {
  if (item.url) return item.url;
  if (!item.blob) {
    const raw = atob(item.clip);
    const bytes = Uint8Array.from(raw, (letter) => letter.charCodeAt(0));
    item.blob = URL.createObjectURL(new Blob([bytes], { type: "audio/flac" }));
  }
  return item.blob;
}

// Play an item from `from` to `to`, in seconds of its recording. A clip in the page begins at `item.begin`.
function play(item, from, to) {
  stop();
  if (!item.url && !item.clip) return;
  const zero = item.url ? 0 : item.begin;
  const url = new URL(urlOf(item), document.baseURI).href;
  player.item = item;
  const start = () => {
    if (player.item !== item) return;
    audio.currentTime = Math.max(0, from - zero);
    audio.play().then(() => watch(item, zero, to), (error) => fail(item, error));
    item.failure = "";
  };
  audio.onerror = () => fail(item, audio.error);
  audio.onended = stop;
  audio.onloadedmetadata = start;
  if (audio.src === url && audio.readyState > 0) start();
  else audio.src = url;
  player.onChange(item);
}

function watch(item, zero, to) {
  clearInterval(player.timer);
  player.timer = setInterval(() => {
    if (audio.currentTime + zero >= to) stop();
    else player.onChange(item, audio.currentTime + zero);
  }, 20);
}

function stop() {
  const item = player.item;
  clearInterval(player.timer);
  audio.pause();
  player.item = null;
  if (item) player.onChange(item);
}

function fail(item, error) {
  if (player.item !== item || (error && error.name === "AbortError")) return; // another item plays now
  stop();
  item.failure = "This browser cannot play the recording, or does not find it.";
  if (error && error.name === "NotAllowedError") item.failure = "This browser plays after a key or a click only.";
  player.onChange(item);
}
