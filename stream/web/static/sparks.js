"use strict";

export const SPARK_STEPS = 120;
const SVG = "http://www.w3.org/2000/svg";

export function newSpark() {
  const spark = document.createElementNS(SVG, "svg");
  spark.setAttribute("class", "spark");
  spark.setAttribute("preserveAspectRatio", "none");
  spark.setAttribute("aria-hidden", "true");
  return spark;
}

/** Draw values, the newest at the right; null leaves a gap. */
export function drawSpark(svg, values) {
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
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("class", name);
      svg.append(path);
    }
  }
  svg.children[0].setAttribute("d", area);
  svg.children[1].setAttribute("d", line);
}
