"use strict";

// The titles of a server, one of which plays, and the state of the link. Nothing that a server says
// becomes markup: it is put in as text.

const byId = (id) => document.getElementById(id);
const MARK = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
// Control characters and those that turn the direction of writing are shown as what they are.
const printable = (text) =>
  text.replace(MARK, (mark) => `\\u{${mark.codePointAt(0).toString(16)}}`);

let titles = [];
let current = null;
let media = null;
// Of a broadcast: when what is played was asked for, how many seconds before its newest, whether that
// much is surely kept, and where in the media it began to play.
let joined = null;

function bytes(count) {
  if (count === null || count === undefined) return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? count : count.toPrecision(3)} ${units[unit]}`;
}

function bits(rate) {
  const units = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"];
  let unit = 0;
  while (rate >= 1000 && unit < units.length - 1) {
    rate /= 1000;
    unit += 1;
  }
  return `${rate >= 100 ? Math.round(rate) : Number(rate.toPrecision(3))} ${units[unit]}`;
}

function clock(seconds) {
  const whole = Math.floor(Math.max(0, seconds));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function row(title) {
  const button = element("button", "", "");
  button.type = "button";
  button.append(element("span", "name", printable(title.title)));
  const facts = element("span", "facts", "");
  if (title.live) facts.append(element("span", "live", title.since ? "LIVE " : "WAITING "));
  const figures = [bytes(title.size), title.bitrate ? bits(title.bitrate) : ""];
  facts.append(figures.filter((figure) => figure !== "").join(" · "));
  button.append(facts);
  button.setAttribute("aria-current", String(current !== null && current.title === title.title));
  button.addEventListener("click", () => play(title));
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function show() {
  const wanted = byId("filter").value.toLocaleLowerCase();
  const shown = titles.filter((title) => title.title.toLocaleLowerCase().includes(wanted));
  byId("titles").replaceChildren(...shown.map(row));
  const count = (number) => `${number} ${number === 1 ? "title" : "titles"}`;
  byId("note").textContent =
    wanted === "" ? count(titles.length) : `${shown.length} of ${count(titles.length)}`;
}

async function load() {
  try {
    const response = await fetch("titles.json");
    if (!response.ok) throw new Error(await response.text());
    const before = appearance(titles);
    titles = (await response.json()).titles;
    const now = current && titles.find((title) => title.title === current.title);
    if (now && current.live && !now.live) {
      [current, joined] = [now, null];
      byId("broadcast").hidden = true;
    }
    if (titles.length === 0 || appearance(titles) !== before) show();
    const wanted = decodeURIComponent(location.hash.slice(1));
    const title = titles.find((title) => title.title === wanted);
    if (title && current === null) prepare(title);
    else if (titles.length === 1 && current === null) prepare(titles[0]);
  } catch (error) {
    byId("note").textContent = `The titles cannot be had: ${error.message.trim()}`;
  }
}

// What of the list is worth drawing it anew, which moves the focus.
const appearance = (titles) =>
  titles.map(({ title, size, live, since }) => [title, size, live, since].join()).join();

// What is on the air begins and ends.
async function followTitles() {
  if (!document.hidden && titles.some((title) => title.live)) await load();
  setTimeout(followTitles, 5000);
}

// For how many seconds a broadcast has been on the air.
const age = (title) => (title.since ? (Date.now() - title.since) / 1000 : 0);

function isAudio(title) {
  return (title.type || "").startsWith("audio/");
}

// Shows a title in the player. Returns its element.
function prepare(title, ago = 0) {
  current = title;
  const url = new URL(title.url, location.href).href;
  byId("player").hidden = false;
  byId("playing").textContent = printable(title.title);
  byId("command").textContent = `mpv '${url}'`;
  byId("save").href = title.url;
  byId("save").download = title.title.split("/").pop();
  byId("unplayable").hidden = true;
  if (media !== null) {
    // Lets the connection go at once.
    media.removeAttribute("src");
    media.load();
  }
  media = document.createElement(isAudio(title) ? "audio" : "video");
  media.controls = true;
  media.preload = "metadata";
  media.playsInline = true;
  media.addEventListener("error", explain);
  byId("broadcast").hidden = !title.live;
  byId("behind").textContent = "";
  joined = null;
  if (title.live) {
    const join = { at: performance.now(), ago: Math.min(ago, age(title)), known: ago <= 300, from: null };
    media.addEventListener("playing", (event) => { join.from ??= event.target.currentTime; });
    joined = join;
  }
  showBehind();
  media.src = ago > 0 ? `${title.url}?ago=${ago}` : title.url;
  byId("stage").replaceChildren(media);
  show();
}

function play(title, ago = 0) {
  prepare(title, ago);
  history.replaceState(null, "", `#${encodeURIComponent(title.title)}`);
  document.title = `${printable(title.title)} – quicstream`;
  // What the browser cannot play is told by its event.
  media.play().catch(() => {});
  byId("player").scrollIntoView({ block: "nearest" });
}

// How far behind a broadcast is played: what was asked for, and what pauses have added. A browser
// knows no more of it.
function showBehind() {
  if (joined === null || media === null) return;
  byId("on").textContent = current.since ? `for ${clock(age(current))}` : "";
  const played = media.currentTime - (joined.from ?? media.currentTime);
  const elapsed = (performance.now() - joined.at) / 1000;
  const behind = Math.max(0, joined.ago + elapsed - played);
  byId("behind").textContent = joined.known && behind >= 5 ? `${clock(behind)} behind` : "";
}

// Says what to do where the browser does not play it.
function explain() {
  const codes = {
    [MediaError.MEDIA_ERR_NETWORK]: "The media broke off. Press play to try again from here.",
    [MediaError.MEDIA_ERR_DECODE]: "This browser cannot decode it. Open it in mpv or VLC:",
    [MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED]:
      "This browser knows no such format, or the server does not answer. Open it in mpv or VLC:",
  };
  byId("why").textContent = codes[media.error && media.error.code] || "It does not play here.";
  byId("unplayable").hidden = false;
}

async function copy(button, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // No clipboard: what is marked can be copied by hand.
    getSelection().selectAllChildren(byId("command"));
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => { button.textContent = label; }, 2000);
}

let before = null;

async function watchLink() {
  const state = byId("state");
  try {
    const link = await (await fetch("link.json")).json();
    const now = performance.now();
    const figures = [printable(link.server)];
    if (before !== null && link.bytes > before.bytes) {
      figures.push(bits((link.bytes - before.bytes) * 8000 / (now - before.at)));
    }
    if (link.round_trip !== null) figures.push(`${link.round_trip.toFixed(1)} ms`);
    if (link.lost_packets) figures.push(`${link.lost_packets} lost`);
    before = { bytes: link.bytes, at: now };
    state.textContent = link.state;
    state.className = link.state;
    byId("figures").textContent = figures.join(" · ");
  } catch {
    before = null;
    state.textContent = "quicstream has ended";
    state.className = "gone";
    byId("figures").textContent = "";
  }
  setTimeout(watchLink, document.hidden ? 10000 : 1000);
}

function step(direction) {
  const buttons = [...byId("titles").querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement);
  const next = at < 0 ? (direction > 0 ? 0 : buttons.length - 1) : at + direction;
  if (buttons[next]) buttons[next].focus();
}

function toggle() {
  if (media.paused) media.play().catch(() => {});
  else media.pause();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inFilter = event.target === byId("filter");
  const onControl = event.target.closest("button, a, video, audio");
  const keys = {
    "ArrowDown": () => step(1),
    "ArrowUp": () => step(-1),
    "Escape": () => { byId("filter").value = ""; show(); byId("filter").blur(); },
  };
  if (!inFilter) {
    keys["/"] = () => byId("filter").focus();
    if (media !== null) {
      keys["f"] = () => { if (media.requestFullscreen) media.requestFullscreen().catch(() => {}); };
      if (!onControl || onControl.closest("#titles")) {
        keys["ArrowLeft"] = () => { media.currentTime -= 10; };
        keys["ArrowRight"] = () => { media.currentTime += 10; };
      }
      if (!onControl) keys[" "] = toggle;
    }
  } else {
    keys["Enter"] = () => { const first = byId("titles").querySelector("button"); if (first) first.click(); };
  }
  const act = keys[event.key];
  if (act === undefined || (event.target === media && event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  act();
});

byId("filter").addEventListener("input", show);
byId("reload").addEventListener("click", load);
byId("copy-command").addEventListener("click", (event) => copy(event.target, byId("command").textContent));
byId("copy-url").addEventListener("click", (event) => copy(event.target, new URL(current.url, location.href).href));

for (const button of document.querySelectorAll("[data-ago]")) {
  button.addEventListener("click", () => play(current, Number(button.dataset.ago)));
}
setInterval(showBehind, 1000);

load();
followTitles();
watchLink();
