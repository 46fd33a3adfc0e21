"use strict";

/* When each picture was painted, for whoever measures: only with ?latency in the address. */

const MOST = 100000;
const wanted = new URLSearchParams(location.search).has("latency");
if (wanted) window.paints = [];

let pending = null;

/** Say that a frame's picture was drawn. Of two before one paint, the later is what is seen. */
export function notePaint(frame) {
  if (!wanted) return;
  if (pending === null) requestAnimationFrame(afterPaint);
  pending = frame;
}

/** A message that is posted in an animation frame arrives after its layout and paint. */
function afterPaint() {
  const shown = pending;
  pending = null;
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    channel.port1.close();
    if (window.paints.length < MOST) window.paints.push([shown, performance.now()]);
  };
  channel.port2.postMessage(null);
}
