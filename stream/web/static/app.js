"use strict";

import { byId, duration, element, figure, fill, short } from "./dom.js";
import * as hand from "./hand.js";
import { notePaint } from "./paints.js";
import * as question from "./question.js";
import { SPARK_STEPS, drawSpark } from "./sparks.js";

const picture = byId("picture");
const marks = byId("marks");
const RETRY_MS = [500, 1000, 2000, 4000];

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
  socket.onopen = () => {
    attempts = 0;
    ended = false;
    question.forgetQuestion(); // it may be another run
    hand.select(null);
  };
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
    const drawn = await showPicture(jpeg);
    if (drawn) hand.showObjects(header);
    showFrame(header);
    if (drawn) notePaint(header.frame);
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

/** Returns false where the picture before must stay. */
async function showPicture(jpeg) {
  const bitmap = await createImageBitmap(jpeg);
  if (hand.isHeld()) {
    bitmap.close();
    return false;
  }
  if (picture.width !== bitmap.width || picture.height !== bitmap.height) {
    picture.width = marks.width = bitmap.width;
    picture.height = marks.height = bitmap.height;
    picture.parentElement.style.setProperty("--aspect", `${bitmap.width} / ${bitmap.height}`);
  }
  picture.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  return true;
}

/* ---- figures ---- */

function showFrame(header) {
  showStatus(header);
  question.showCounts(header.counts);
  showRows(header);
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
  const control = status.control && !ended;
  question.setControl(control, status.texts);
  hand.setControl(control);
  if (!byId("counts").childElementCount) question.showCounts(Object.fromEntries(status.texts.map((text) => [text, 0])));
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

function showRows(header) {
  fill(byId("rows"), header.objects, newRow, (row, item) => {
    const [id, label, score, age, area] = row.children;
    row.dataset.id = item.id;
    id.firstChild.textContent = item.id;
    id.firstChild.setAttribute("aria-label", `select object ${item.id}`);
    id.firstChild.style.background = item.colour;
    label.textContent = item.parent === null ? item.label : `${item.label} of ${item.parent}`;
    label.title = item.parent === null ? item.label : `${item.label}, ${item.parent} divided into it and another`;
    score.textContent = item.score.toFixed(2);
    age.textContent = duration(item.age_s);
    area.textContent = `${item.area} px`;
    hand.markRow(row);
  });
  byId("none").hidden = header.objects.length > 0;
  byId("more").hidden = header.more === 0;
  byId("more").textContent = `and ${header.more} more`;
}

function newRow() {
  const swatch = element("button");
  Object.assign(swatch, { type: "button", className: "swatch" });
  const row = element("tr", element("td", swatch), element("td"), element("td"), element("td"), element("td"));
  const id = () => Number(row.dataset.id);
  row.onmouseenter = () => hand.hover(id());
  row.onmouseleave = () => hand.hover(null);
  row.onclick = () => hand.select(hand.isSelected(id()) ? null : id());
  return row;
}

function showHistory(history) {
  question.showSparks(history.counts);
  const known = history.latency_ms.filter((value) => value !== null);
  drawSpark(byId("latency-spark"), history.latency_ms);
  byId("latency-range").textContent = known.length ? `${short(Math.min(...known))} – ${short(Math.max(...known))} ms` : "";
  byId("latency-from").textContent = `${SPARK_STEPS * history.step_s} s ago`;
}

connect();
