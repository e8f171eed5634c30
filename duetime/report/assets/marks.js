/* Names, colours, elements and marks, for every script of the report and of the live page. */
"use strict";
const Duetime = {};

Duetime.VIOLATIONS = ["missed", "duplicate", "will_repeat", "phantom", "stale", "early", "late"];
Duetime.LABELS = {
  on_time: "delivered", excused: "delivered late, excused", zombie: "soon after a cancel or move: allowed",
  recovered: "delivered, never acknowledged", overdue: "overdue, not final",
  ...Object.fromEntries(Duetime.VIOLATIONS.map((label) => [label, label])), will_repeat: "delivered, and will repeat",
};
Duetime.reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
Duetime.colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
Duetime.seconds = (s) => (s === null || s === undefined ? "never" : `${s.toFixed(3)} s`);

Duetime.element = function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};

/* Size a canvas in CSS pixels at the resolution of the screen; returns its context. */
Duetime.canvas = function canvas(node, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (node.width !== w || node.height !== h) { node.width = w; node.height = h; }
  node.style.height = `${height}px`;
  const context = node.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
};

/* The smallest tick distance that makes at most `most` ticks in `span` seconds. */
Duetime.step = (span, most) => [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600].find((step) => span / step <= most) || 1800;

Duetime.colourOf = (label) => {
  const delivered = ["on_time", "recovered", "excused", "zombie"].includes(label) || label.startsWith("un");
  return Duetime.colour(delivered ? "delivered" : { overdue: "missed", will_repeat: "duplicate" }[label] ?? label);
};

/* Each label has its own shape, so that colour is not the only difference. */
Duetime.mark = function mark(context, label, x, y, size, colour = Duetime.colourOf(label)) {
  context.fillStyle = context.strokeStyle = colour;
  context.lineWidth = Math.max(1.2, size / 3.2);
  context.beginPath();
  switch (label) {
    case "missed":
      context.moveTo(x - size, y - size); context.lineTo(x + size, y + size);
      context.moveTo(x + size, y - size); context.lineTo(x - size, y + size); context.stroke(); break;
    case "overdue":
      context.setLineDash([2, 2]); context.arc(x, y, size, 0, 7); context.stroke(); context.setLineDash([]); break;
    case "duplicate":
      context.moveTo(x, y - size * 1.3); context.lineTo(x + size * 1.3, y); context.lineTo(x, y + size * 1.3);
      context.lineTo(x - size * 1.3, y); context.closePath(); context.fill(); break;
    case "will_repeat":
      context.moveTo(x, y - size * 1.3); context.lineTo(x + size * 1.3, y); context.lineTo(x, y + size * 1.3);
      context.lineTo(x - size * 1.3, y); context.closePath(); context.stroke(); break;
    case "late":
      context.moveTo(x - size, y - size); context.lineTo(x + size * 1.2, y); context.lineTo(x - size, y + size);
      context.closePath(); context.fill(); break;
    case "early":
      context.moveTo(x + size, y - size); context.lineTo(x - size * 1.2, y); context.lineTo(x + size, y + size);
      context.closePath(); context.fill(); break;
    case "phantom": context.rect(x - size, y - size, 2 * size, 2 * size); context.fill(); break;
    case "stale": context.rect(x - size, y - size, 2 * size, 2 * size); context.stroke(); break;
    case "excused": context.arc(x, y, size * 0.85, 0, 7); context.stroke(); break;
    case "zombie":
      context.moveTo(x - size, y - size * 0.8); context.lineTo(x + size, y - size * 0.8); context.lineTo(x, y + size);
      context.closePath(); context.stroke(); break;
    default: context.arc(x, y, size * 0.85, 0, 7); context.fill();
  }
};

Duetime.legend = function legend(labels, shorter = {}) {
  const list = Duetime.element("ul", { class: "legend", "aria-label": "Legend" });
  const entry = (text, draw) => {
    const canvas = Duetime.element("canvas", { "aria-hidden": "true" });
    list.append(Duetime.element("li", {}, canvas, text));
    draw(Duetime.canvas(canvas, 22, 16));
  };
  for (const label of labels) entry(shorter[label] ?? Duetime.LABELS[label], (context) => Duetime.mark(context, label, 11, 8, 4.5));
  entry("due", (context) => { context.fillStyle = Duetime.colour("due"); context.fillRect(10, 2, 2, 12); });
  entry("until the deadline", (context) => { context.fillStyle = Duetime.colour("window"); context.fillRect(1, 4, 20, 8); });
  entry("excused", (context) => Duetime.hatch(context, 1, 4, 20, 8, Duetime.colour("hatch")));
  return list;
};

Duetime.hatch = function hatch(context, x, y, width, height, colour) {
  context.save();
  context.beginPath(); context.rect(x, y, width, height); context.clip();
  context.strokeStyle = colour; context.lineWidth = 1; context.beginPath();
  for (let at = x - height; at < x + width; at += 4) { context.moveTo(at, y + height); context.lineTo(at + height, y); }
  context.stroke(); context.restore();
};
