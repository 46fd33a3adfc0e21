"use strict";

const TOLD_MS = 7000;
const timers = new WeakMap();

/** Ask something of the run. Returns its reply; where `ok` is false, `error` is one line. */
export async function ask(request) {
  try {
    const answer = await fetch("/api/ask", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
    });
    if (answer.headers.get("content-type")?.startsWith("application/json")) return await answer.json();
    return { ok: false, error: (await answer.text()).trim() || `maskcast answers with status ${answer.status}` };
  } catch {
    return { ok: false, error: "maskcast does not answer; has the run ended?" };
  }
}

/** Show one line for some seconds; an empty one clears it. */
export function tell(place, text) {
  clearTimeout(timers.get(place));
  place.textContent = text;
  if (text) timers.set(place, setTimeout(() => { place.textContent = ""; }, TOLD_MS));
}
