"use strict";

export const byId = (id) => document.getElementById(id);

export function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

export function button(className, label, onclick, ...children) {
  const made = element("button", ...children);
  Object.assign(made, { type: "button", className, title: label, onclick });
  made.setAttribute("aria-label", label);
  return made;
}

/** Keep as many children as there are items, and update each in place. */
export function fill(parent, items, make, update) {
  while (parent.childElementCount > items.length) parent.lastElementChild.remove();
  while (parent.childElementCount < items.length) parent.append(make());
  items.forEach((item, index) => update(parent.children[index], item));
}

export function figure(id, text) {
  const known = text !== null && text !== undefined;
  byId(id).textContent = known ? text : "–";
  byId(id).parentElement.classList.toggle("unknown", !known);
}

export const short = (value) => (Math.abs(value) < 100 ? value.toFixed(1) : Math.round(value).toString());

export function duration(seconds) {
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
