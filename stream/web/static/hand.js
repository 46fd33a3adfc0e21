"use strict";

import { ask, tell } from "./ask.js";
import { byId } from "./dom.js";
import { take } from "./question.js";

const picture = byId("picture");
const marks = byId("marks");
const DRAG_PX = 6;
const LEAST_BOX_PX = 2;
const FLASH_MS = 1500;
const HELD_FRAMES = 20; // well below the 32 that a run keeps for prompts (tracker.memory.late_frames)

/** The frame whose picture is on the screen; size is [H, W] in frame pixels. */
let shown = null;
let framesPerS = 10;
let control = false;
let selectedId = null;
let hoveredId = null;
let like = false;
let press = null;
const pending = new Set();
const flashes = new Set();

/* ---- what the page tells ---- */

export function setControl(on) {
  if (control === on) return;
  control = on;
  byId("tools").hidden = !on;
  picture.classList.toggle("aims", on);
  if (!on) press = null;
}

export function showObjects({ frame, size, objects, fps_out: fps }) {
  shown = { frame, size, objects };
  framesPerS = fps ?? 10;
  showTools();
  draw();
}

export function hover(id) {
  hoveredId = id;
  draw();
}

export const isSelected = (id) => id === selectedId;

export function select(id) {
  selectedId = id;
  for (const row of byId("rows").children) markRow(row);
  showTools();
  draw();
}

export function markRow(row) {
  const on = Number(row.dataset.id) === selectedId;
  row.classList.toggle("selected", on);
  row.querySelector("button").setAttribute("aria-pressed", on);
}

/** While somebody presses, the picture stands still, as long as the run keeps its frame. */
export function isHeld() {
  return press !== null && ((performance.now() - press.since) / 1000) * framesPerS < HELD_FRAMES;
}

/* ---- from the screen to frame pixels ---- */

/** Where the picture lies in the window: its element may be larger on two sides. */
function area() {
  const box = picture.getBoundingClientRect();
  const scale = Math.min(box.width / picture.width, box.height / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  return { left: box.left + (box.width - width) / 2, top: box.top + (box.height - height) / 2, width, height };
}

function pointOf(event) {
  const { left, top, width, height } = area();
  return [((event.clientX - left) / width) * shown.size[1], ((event.clientY - top) / height) * shown.size[0]];
}

const within = ([x, y]) => x >= 0 && y >= 0 && x <= shown.size[1] && y <= shown.size[0];

const tenths = (values) => values.map((value) => Math.round(value * 10) / 10);

function boxOf([ax, ay], [bx, by]) {
  const [height, width] = shown.size;
  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  const [x0, x1] = [clamp(Math.min(ax, bx), width), clamp(Math.max(ax, bx), width)];
  const [y0, y1] = [clamp(Math.min(ay, by), height), clamp(Math.max(ay, by), height)];
  return tenths([x0, y0, x1, y1]);
}

/** By boxes, as the messages to the page hold no masks; the smallest of several. */
function objectAt([x, y]) {
  const hit = shown.objects.filter(({ box }) => x >= box[0] && y >= box[1] && x < box[2] && y < box[3]);
  const size = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
  return hit.sort((a, b) => size(a) - size(b))[0];
}

/* ---- pointer and keys ---- */

picture.onpointerdown = (event) => {
  if (!shown || !event.isPrimary || event.button !== 0) return;
  const from = pointOf(event);
  if (!within(from)) return;
  picture.setPointerCapture(event.pointerId);
  press = { from, to: from, x: event.clientX, y: event.clientY, since: performance.now(), drag: false };
};

picture.onpointermove = (event) => {
  if (!press || !event.isPrimary) return;
  press.to = pointOf(event);
  press.drag ||= control && Math.hypot(event.clientX - press.x, event.clientY - press.y) > DRAG_PX;
  draw();
};

picture.onpointerup = (event) => {
  if (!press || !event.isPrimary) return;
  const { from, drag } = press;
  press = null;
  if (drag) boxed(boxOf(from, pointOf(event)));
  else clicked(from, event.shiftKey);
  draw();
};

picture.onpointercancel = () => { press = null; draw(); };

document.addEventListener("keydown", (event) => {
  if (event.target.closest?.("input")) return;
  if (event.key === "Escape") {
    if (press) press = null;
    else select(null);
    draw();
  } else if (event.key === "Delete") forget();
});

function clicked(point, outside) {
  const hit = objectAt(point);
  if (selectedId === null && hit) select(hit.id);
  else if (!control) select(hit?.id ?? null);
  else if (selectedId !== null) {
    prompt({ id: selectedId, points: [tenths(point)], labels: [outside ? 0 : 1], more: true }, like && !outside);
  } else if (outside) tell(byId("refused-hand"), "Shift+click says what is outside of a selected object; select one first");
  else prompt({ points: [tenths(point)], labels: [1] }, like);
}

function boxed(box) {
  if (box[2] - box[0] >= LEAST_BOX_PX && box[3] - box[1] >= LEAST_BOX_PX) prompt({ box }, like);
}

async function prompt(said, withLike) {
  const request = { do: "prompt", frame: shown.frame, ...said };
  if (withLike) request.like = true;
  tell(byId("refused-hand"), "");
  pending.add(request);
  // Every such prompt makes another exemplar, so the next one must be meant, too.
  if (withLike) setLike(false);
  const reply = await ask(request);
  pending.delete(request);
  if (reply.ok) {
    take(reply);
    flash(reply.box);
  } else {
    tell(byId("refused-hand"), reply.error);
    if (withLike) setLike(true);
  }
  draw();
}

async function forget() {
  const id = selectedId;
  if (id === null || !control) return;
  const reply = await ask({ do: "forget", id });
  if (!reply.ok) tell(byId("refused-hand"), reply.error);
  else if (selectedId === id) select(null);
}

function flash(box) {
  const item = { box };
  flashes.add(item);
  setTimeout(() => { flashes.delete(item); draw(); }, FLASH_MS);
}

/* ---- the line below the picture ---- */

function setLike(on) {
  like = on;
  byId("like").setAttribute("aria-pressed", on);
  showTools();
}

function showTools() {
  const there = shown?.objects.some((item) => item.id === selectedId);
  const hint = selectedId === null
    ? "Click an object to select it, anywhere else to add one. Drag a box around a new one."
    : `Object ${selectedId}${there ? "" : " (not seen now)"}: click adds to it, Shift+click takes away, Esc lets go.`;
  if (byId("hint").textContent !== hint) byId("hint").textContent = hint;
  byId("forget").hidden = byId("let-go").hidden = selectedId === null;
}

byId("like").onclick = () => setLike(!like);
byId("forget").onclick = forget;
byId("let-go").onclick = () => select(null);

/* ---- drawing over the picture ---- */

function draw() {
  const pen = marks.getContext("2d");
  pen.clearRect(0, 0, marks.width, marks.height);
  if (!shown) return;
  const scale = marks.width / shown.size[1];
  const unit = marks.width / area().width; // one pixel of the screen
  const frame = ([x0, y0, x1, y1], colour, gap = 0, dashes = []) => {
    pen.setLineDash(dashes.map((length) => length * unit));
    pen.strokeStyle = colour;
    pen.lineWidth = 2 * unit;
    pen.strokeRect((x0 - gap) * scale, (y0 - gap) * scale, (x1 - x0 + 2 * gap) * scale, (y1 - y0 + 2 * gap) * scale);
  };
  for (const item of shown.objects) {
    if (item.id === hoveredId) frame(item.box, item.colour, 6);
    if (item.id === selectedId) corners(pen, item.box, 5, scale, unit);
  }
  for (const { box } of flashes) frame(box, "#2dd4bf", 2);
  for (const said of pending) {
    if (said.box) frame(said.box, "#fff", 0, [4, 4]);
    said.points?.forEach((point, index) => spot(pen, point, said.labels[index], scale, unit));
  }
  if (press?.drag) frame(boxOf(press.from, press.to), "#fff");
}

/** Corners only: the id stands above the middle. */
function corners(pen, [x0, y0, x1, y1], gap, scale, unit) {
  const length = Math.min(12 * unit, ((Math.min(x1 - x0, y1 - y0) + 2 * gap) * scale) / 3);
  pen.setLineDash([]);
  pen.strokeStyle = "#fff";
  pen.lineWidth = 2.5 * unit;
  pen.beginPath();
  for (const [x, dx] of [[(x0 - gap) * scale, length], [(x1 + gap) * scale, -length]]) {
    for (const [y, dy] of [[(y0 - gap) * scale, length], [(y1 + gap) * scale, -length]]) {
      pen.moveTo(x + dx, y);
      pen.lineTo(x, y);
      pen.lineTo(x, y + dy);
    }
  }
  pen.stroke();
}

function spot(pen, [x, y], label, scale, unit) {
  pen.setLineDash([]);
  pen.beginPath();
  pen.arc(x * scale, y * scale, 6 * unit, 0, 2 * Math.PI);
  pen.fillStyle = label ? "#2dd4bf" : "#ff7a6b";
  pen.fill();
  pen.strokeStyle = "#fff";
  pen.lineWidth = 2 * unit;
  pen.stroke();
}
