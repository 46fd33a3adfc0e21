"use strict";

const byId = (id) => document.getElementById(id);
const picture = byId("picture");
const marks = byId("marks");
const SPARK_STEPS = 120;
const RETRY_MS = [500, 1000, 2000, 4000];

let hoveredId = null;
let objects = [];
let attempts = 0;
let ended = false;

/* ---- connection: one picture at a time, the next is sent when this one has been shown ---- */

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/ws`);
  socket.binaryType = "arraybuffer";
  // In order: a picture is decoded in the background, and the end must not be shown before it.
  let shown = Promise.resolve();
  const inOrder = (work) => { shown = shown.then(work).catch(console.error); };
  socket.onopen = () => { attempts = 0; ended = false; };
  socket.onmessage = (event) => inOrder(() => show(socket, event.data));
  socket.onclose = () => inOrder(() => {
    if (!ended) showState("disconnected");
    // Also after the end: the next run on this port shows up by itself.
    setTimeout(connect, RETRY_MS[Math.min(attempts++, RETRY_MS.length - 1)]);
  });
}

async function show(socket, data) {
  if (typeof data === "string") {
    showStatus(JSON.parse(data));
    return;
  }
  const { header, jpeg } = unpack(data);
  try {
    await showPicture(jpeg);
    showFrame(header);
  } finally {
    if (socket.readyState === WebSocket.OPEN) socket.send(`ack ${header.number}`);
  }
}

function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const text = new TextDecoder().decode(new Uint8Array(buffer, 4, length));
  return { header: JSON.parse(text), jpeg: new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }) };
}

/* ---- picture ---- */

async function showPicture(jpeg) {
  const bitmap = await createImageBitmap(jpeg);
  if (picture.width !== bitmap.width || picture.height !== bitmap.height) {
    picture.width = marks.width = bitmap.width;
    picture.height = marks.height = bitmap.height;
    picture.parentElement.style.setProperty("--aspect", `${bitmap.width} / ${bitmap.height}`);
  }
  picture.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
}

function markHovered(size) {
  const pen = marks.getContext("2d");
  pen.clearRect(0, 0, marks.width, marks.height);
  const found = objects.find((item) => item.id === hoveredId);
  if (!found) return;
  const scale = marks.width / size[1];
  const [x0, y0, x1, y1] = found.box.map((value) => value * scale);
  const gap = 6 * scale;
  pen.strokeStyle = found.colour;
  pen.lineWidth = 2;
  pen.strokeRect(x0 - gap, y0 - gap, x1 - x0 + 2 * gap, y1 - y0 + 2 * gap);
}

/* ---- figures ---- */

function showFrame(header) {
  showStatus(header);
  objects = header.objects;
  showCounts(header.counts);
  showRows(header);
  markHovered(header.size);
  if (header.history) showHistory(header.history);
  byId("now").textContent = header.now;
  const parts = Object.entries(header.counts).map(([label, count]) => `${count} ${label}`);
  document.title = `${parts.join(", ")} · maskcast`;
}

function showStatus(status) {
  ended = status.state === "ended";
  showState(status.state);
  byId("stream").textContent = status.stream;
  byId("source").textContent = [status.source, status.model].filter(Boolean).join(" · ");
  figure("p50", status.latency_ms && short(status.latency_ms.p50));
  figure("p90", status.latency_ms && short(status.latency_ms.p90));
  figure("fps-in", status.fps_in?.toFixed(1));
  figure("fps-out", status.fps_out?.toFixed(1));
  figure("frame", status.frame);
  byId("ever").textContent = status.ever;
  showAge(status.age_ms);
  showDropped(status.dropped);
  if (!byId("counts").childElementCount) showCounts(Object.fromEntries(status.texts.map((text) => [text, 0])));
}

function showState(state) {
  document.body.dataset.state = state;
  byId("state").textContent = state;
  const words = {
    connecting: "connecting",
    waiting: "waiting for the first frame",
    stalled: "no new frames: the source is silent",
    reconnecting: "the source is gone, reconnecting",
    ended: "the stream has ended; this is its last picture",
    disconnected: "maskcast does not answer; trying again",
  };
  byId("veil").hidden = !(state in words);
  byId("veil").textContent = words[state] ?? "";
}

function showAge(ageMs) {
  const slow = ageMs !== null && ageMs >= 10000;
  figure("age", ageMs === null ? null : short(slow ? ageMs / 1000 : ageMs));
  byId("age-unit").textContent = slow ? "s" : "ms";
}

function showDropped(dropped) {
  const causes = Object.entries(dropped).filter(([, count]) => count > 0);
  byId("dropped").textContent = causes.reduce((sum, [, count]) => sum + count, 0);
  byId("drops-card").hidden = causes.length === 0;
  fill(byId("drops"), causes, () => element("li", element("span"), element("b")), (item, [cause, count]) => {
    item.children[0].textContent = cause.replaceAll("_", " ");
    item.children[1].textContent = count;
  });
}

function showCounts(counts) {
  const labels = Object.entries(counts);
  byId("counts").classList.toggle("many", labels.length > 2);
  fill(byId("counts"), labels, newCount, (card, [label, count]) => {
    card.dataset.label = label;
    card.children[0].textContent = label;
    card.children[1].textContent = count;
  });
}

function newCount() {
  const spark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  spark.setAttribute("class", "spark");
  spark.setAttribute("preserveAspectRatio", "none");
  const card = element("div", element("h2"), element("strong"), spark);
  card.className = "count";
  return card;
}

function showRows(header) {
  fill(byId("rows"), header.objects, newRow, (row, item) => {
    const [id, label, score, age, area] = row.children;
    row.dataset.id = item.id;
    id.firstChild.textContent = item.id;
    id.firstChild.style.background = item.colour;
    label.textContent = label.title = item.label;
    score.textContent = item.score.toFixed(2);
    age.textContent = duration(item.age_s);
    area.textContent = `${item.area} px`;
  });
  byId("none").hidden = header.objects.length > 0;
  byId("more").hidden = header.more === 0;
  byId("more").textContent = `and ${header.more} more`;
}

function newRow() {
  const swatch = element("span");
  swatch.className = "swatch";
  const row = element("tr", element("td", swatch), element("td"), element("td"), element("td"), element("td"));
  row.onmouseenter = () => { hoveredId = Number(row.dataset.id); };
  row.onmouseleave = () => { hoveredId = null; };
  return row;
}

/* ---- sparklines ---- */

function showHistory(history) {
  for (const card of byId("counts").children) {
    drawSpark(card.querySelector("svg"), history.counts[card.dataset.label] ?? []);
  }
  const known = history.latency_ms.filter((value) => value !== null);
  drawSpark(byId("latency-spark"), history.latency_ms);
  byId("latency-range").textContent = known.length ? `${short(Math.min(...known))} – ${short(Math.max(...known))} ms` : "";
  byId("latency-from").textContent = `${SPARK_STEPS * history.step_s} s ago`;
}

function drawSpark(svg, values) {
  const top = Math.max(1, ...values.filter((value) => value !== null)) * 1.12;
  const lines = [];
  values.forEach((value, index) => {
    if (value === null) return;
    const x = SPARK_STEPS - values.length + index + 1;
    const joined = index > 0 && values[index - 1] !== null;
    if (!joined) lines.push([]);
    lines.at(-1).push([x, 100 - (100 * value) / top]);
  });
  const line = lines.map((points) => `M${points.map((point) => point.map((v) => v.toFixed(2)).join(" ")).join("L")}`).join("");
  const area = lines.map((points) => `M${points[0][0]} 100L${points.map((p) => p.join(" ")).join("L")}L${points.at(-1)[0]} 100Z`).join("");
  svg.setAttribute("viewBox", `0 0 ${SPARK_STEPS} 100`);
  if (!svg.childElementCount) {
    for (const name of ["area", "line"]) {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", name);
      svg.append(path);
    }
  }
  svg.children[0].setAttribute("d", area);
  svg.children[1].setAttribute("d", line);
}

/* ---- small things ---- */

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

/** Keep as many children as there are items, and update each in place. */
function fill(parent, items, make, update) {
  while (parent.childElementCount > items.length) parent.lastElementChild.remove();
  while (parent.childElementCount < items.length) parent.append(make());
  items.forEach((item, index) => update(parent.children[index], item));
}

function figure(id, text) {
  const known = text !== null && text !== undefined;
  byId(id).textContent = known ? text : "–";
  byId(id).parentElement.classList.toggle("unknown", !known);
}

const short = (value) => (Math.abs(value) < 100 ? value.toFixed(1) : Math.round(value).toString());

function duration(seconds) {
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

connect();
