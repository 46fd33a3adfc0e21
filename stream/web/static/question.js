"use strict";

import { ask, tell } from "./ask.js";
import { button, byId, element, fill } from "./dom.js";
import { drawSpark, newSpark } from "./sparks.js";

const SETTLE_MS = 1500;
const REFRESH_MS = 10000;

/** What the run last said it looks for: texts, negatives, exemplars, revision; null: not known. */
let question = null;
let control = false;
let counts = {};
let askedAbout = "";
let settledAt = 0;
const cards = new Map();

/* ---- what is asked for ---- */

export function setControl(on, texts) {
  const labels = JSON.stringify(texts);
  const turnedOn = on && !control;
  control = on;
  byId("ask").hidden = !on;
  if (!on) question = null;
  // Somebody else may change the question, too.
  if (turnedOn || (on && labels !== askedAbout && labels !== JSON.stringify(known()))) refresh();
  askedAbout = labels;
}

async function refresh() {
  const reply = await ask({ do: "get" });
  if (reply.ok) take(reply);
}

/** Take the question from a reply; answers may overtake each other. */
export function take(reply) {
  if (!control || (question && reply.revision < question.revision)) return;
  if (JSON.stringify(question?.texts) !== JSON.stringify(reply.texts)) settledAt = performance.now() + SETTLE_MS;
  const { texts, negatives, exemplars, revision } = reply;
  question = { texts, negatives, exemplars, revision };
  showCards();
  showNegatives();
}

/** Another run may answer next, with revisions of its own. */
export function forgetQuestion() {
  control = false;
  question = null;
}

const known = () => (question ? [...question.texts, ...question.exemplars] : []);

async function change(request) {
  const place = byId("refused");
  tell(place, "");
  const reply = await ask(request);
  if (reply.ok) take(reply);
  else tell(place, reply.error);
  return reply;
}

/* ---- one card for each label ---- */

export function showCounts(given) {
  counts = given;
  showCards();
}

export function showSparks(history) {
  for (const [label, card] of cards) drawSpark(card.querySelector("svg"), history[label] ?? []);
}

function showCards() {
  const parent = byId("counts");
  const labels = question ? known() : Object.keys(counts);
  if (question && performance.now() > settledAt) {
    // Objects prompted from elsewhere can have labels that nobody looks for.
    labels.push(...Object.keys(counts).filter((label) => counts[label] > 0 && !labels.includes(label)));
  }
  const editing = [...cards.keys()].filter((label) => !labels.includes(label) && cards.get(label).querySelector("input"));
  const all = [...labels, ...editing];
  for (const [label, card] of cards) {
    if (all.includes(label)) continue;
    card.remove();
    cards.delete(label);
  }
  all.forEach((label, index) => {
    if (!cards.has(label)) cards.set(label, newCard(label));
    const card = cards.get(label);
    showKind(card, label);
    card.querySelector("strong").textContent = counts[label] ?? 0;
    if (parent.children[index] !== card) parent.insertBefore(card, parent.children[index] ?? null);
  });
  parent.classList.toggle("many", all.length > (control ? 1 : 2));
}

function newCard(label) {
  const card = element("div", element("h2"), element("strong"), newSpark());
  card.className = "count";
  card.dataset.label = label;
  return card;
}

/** Give a card what can be done with its label: texts are edited and removed, exemplars removed. */
function showKind(card, label) {
  const kind = question?.texts.includes(label) ? "text" : question?.exemplars.includes(label) ? "exemplar" : "other";
  if (card.dataset.kind === kind || card.querySelector("input")) return;
  card.dataset.kind = kind;
  card.querySelector(".x")?.remove();
  card.firstElementChild.replaceChildren(kind === "text" ? nameButton(card, label) : element("span", label));
  if (kind === "exemplar") card.firstElementChild.append(tag("shown"));
  if (kind !== "other") {
    card.append(button("x", `look for ${label} no more`, () => change({ do: "remove", text: label }), "×"));
  }
}

function tag(word) {
  const made = element("small", word);
  made.className = "tag";
  return made;
}

const nameButton = (card, label) => {
  const made = button("name", `edit ${label}`, () => edit(card, label), label);
  made.removeAttribute("aria-label"); // it is read as what it shows
  return made;
};

function edit(card, label) {
  const input = element("input");
  Object.assign(input, { value: label, autocomplete: "off", enterKeyHint: "done" });
  input.setAttribute("aria-label", `look for this instead of ${label}`);
  const close = () => {
    card.dataset.kind = "";
    input.remove();
    showCards();
  };
  input.onkeydown = async (event) => {
    if (event.isComposing) return; // Enter and Escape belong to the input method
    if (event.key === "Escape") {
      close();
      cards.get(label)?.querySelector(".name")?.focus();
    } else if (event.key === "Enter" && !input.readOnly) {
      const place = question ? question.texts.indexOf(label) : -1;
      input.readOnly = true;
      const same = input.value.trim() === label;
      const reply = same ? { ok: true } : await change({ do: "edit", old: label, new: input.value });
      input.readOnly = false;
      if (!reply.ok) return;
      close();
      cards.get(question?.texts[place])?.querySelector(".name")?.focus();
    }
  };
  input.onblur = () => { if (!input.readOnly && input.isConnected && input.value === label) close(); };
  card.firstElementChild.replaceChildren(input);
  input.select();
  input.focus();
}

/* ---- more of them, and what it is not ---- */

function showNegatives() {
  const newChip = () => element("li", element("span"), button("x", "", null, "×"));
  fill(byId("negatives"), question.negatives, newChip, (chip, text) => {
    const [name, x] = chip.children;
    name.textContent = text;
    x.title = `it may be ${text}`;
    x.setAttribute("aria-label", x.title);
    x.onclick = () => change({ do: "remove", text, negative: true });
  });
}

function adds(form, negative) {
  const input = form.querySelector("input");
  form.onsubmit = async (event) => {
    event.preventDefault();
    const text = input.value;
    if (!text.trim() || form.dataset.busy) return;
    form.dataset.busy = "yes";
    const reply = await change({ do: "add", text, negative });
    delete form.dataset.busy;
    if (reply.ok && input.value === text) input.value = "";
  };
}

adds(byId("add"), false);
adds(byId("add-negative"), true);
// The status names no negatives: those that others change are seen by asking.
setInterval(() => { if (control && !document.hidden) refresh(); }, REFRESH_MS);
