/* Draws runs as lanes over one time axis. Knows nothing of where its numbers come from, and judges nothing. */
"use strict";
const Duetime = {};

Duetime.LABELS = {
  on_time: "delivered", excused: "delivered late, excused by a fault", zombie: "delivered while being called off",
  recovered: "delivered, though never acknowledged", missed: "missed", overdue: "overdue, not yet certain",
  duplicate: "duplicate", late: "late", early: "early", phantom: "phantom", stale: "stale",
};
Duetime.VIOLATIONS = ["missed", "duplicate", "late", "early", "phantom", "stale"];
Duetime.calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
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

/* A canvas as sharp as the screen; returns its context, in CSS pixels. */
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

Duetime.step = (span, room) => [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600].find((step) => span / step <= room) || 1800;

/* One shape for each label, so that colour is never alone. */
Duetime.mark = function mark(context, label, x, y, size) {
  const name = ["on_time", "recovered", "excused", "zombie"].includes(label) || label.startsWith("un") ? "kept" : label;
  context.fillStyle = context.strokeStyle = Duetime.colour(name === "overdue" ? "missed" : name);
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
    case "late":
      context.moveTo(x - size, y - size); context.lineTo(x + size * 1.2, y); context.lineTo(x - size, y + size);
      context.closePath(); context.fill(); break;
    case "early":
      context.moveTo(x + size, y - size); context.lineTo(x - size * 1.2, y); context.lineTo(x + size, y + size);
      context.closePath(); context.fill(); break;
    case "phantom": context.rect(x - size, y - size, 2 * size, 2 * size); context.fill(); break;
    case "stale": context.rect(x - size, y - size, 2 * size, 2 * size); context.stroke(); break;
    case "excused": case "zombie": context.arc(x, y, size * 0.85, 0, 7); context.stroke(); break;
    default: context.arc(x, y, size * 0.85, 0, 7); context.fill();
  }
};

Duetime.legend = function legend(shown) {
  const list = Duetime.element("ul", { class: "legend", "aria-label": "What the marks mean" });
  const entry = (text, draw) => {
    const canvas = Duetime.element("canvas", { "aria-hidden": "true" });
    list.append(Duetime.element("li", {}, canvas, text));
    draw(Duetime.canvas(canvas, 22, 16));
  };
  for (const label of shown) entry(Duetime.LABELS[label], (context) => Duetime.mark(context, label, 11, 8, 4.5));
  entry("due", (context) => { context.fillStyle = Duetime.colour("due"); context.fillRect(10, 2, 2, 12); });
  entry("may come", (context) => { context.fillStyle = Duetime.colour("window"); context.fillRect(1, 4, 20, 8); });
  entry("may come, excused by a fault", (context) => Duetime.hatch(context, 1, 4, 20, 8, Duetime.colour("hatch")));
  return list;
};

Duetime.hatch = function hatch(context, x, y, width, height, colour) {
  context.save();
  context.beginPath(); context.rect(x, y, width, height); context.clip();
  context.strokeStyle = colour; context.lineWidth = 1; context.beginPath();
  for (let at = x - height; at < x + width; at += 4) { context.moveTo(at, y + height); context.lineTo(at + height, y); }
  context.stroke(); context.restore();
};

/* The worst that is said of one notification; what came twice or too late was delivered too. */
Duetime.worst = function worst(note) {
  const said = new Set();
  for (const rev of note.revs) {
    if (rev.state === "missed" || rev.state === "overdue") said.add(rev.state);
    for (const got of rev.got || []) said.add(got[3]);
  }
  return [...Duetime.VIOLATIONS, "overdue"].find((label) => said.has(label)) || null;
};

Duetime.begins = (note) => Math.min(...note.revs.map((rev) => rev.asked ?? rev.got[0][0]));
Duetime.finishes = (note) => Math.max(...note.revs.map((rev) => Math.max(
  rev.due ?? rev.answered ?? 0, rev.required && rev.state !== "delivered" ? rev.deadline ?? 0 : 0,
  ...(rev.got || []).map((got) => got[0]))));

/* Which row each notification has: as few rows as possible, those with an violation first.
   keep: rows of an earlier layout, which stay where they are while somebody watches. */
Duetime.layout = function layout(notes, keep) {
  const rows = new Map(), free = [];
  const all = notes.map((note) => ({ note, from: Duetime.begins(note), to: Duetime.finishes(note), worst: Duetime.worst(note) }));
  all.sort((a, b) => a.from - b.from);
  // One of each kind first: among fifty missed the one phantom must not be overlooked.
  const nth = new Map();
  for (const one of all) { nth.set(one.worst, (nth.get(one.worst) || 0) + 1); one.turn = one.worst === null ? Infinity : nth.get(one.worst); }
  if (!keep) all.sort((a, b) => (a.turn === b.turn ? 0 : a.turn - b.turn) || a.from - b.from);
  if (keep) for (const one of all) {
    const row = keep.get(one.note.key);
    if (row !== undefined) { rows.set(one.note.key, row); free[row] = Math.max(free[row] ?? -Infinity, one.to); }
  }
  let first = 0;
  for (const one of all) {
    if (rows.has(one.note.key)) continue;
    if (!keep && one.worst !== null) { rows.set(one.note.key, free.length); free.push(Infinity); first = free.length; continue; }
    let row = first;
    while (row < free.length && (free[row] ?? -Infinity) > one.from - 0.15) row += 1;
    free[row] = one.to; rows.set(one.note.key, row);
  }
  return { rows, count: free.length, violating: first, all };
};

Duetime.Lanes = class Lanes {
  /* select(lane, note): somebody chose one. live: rows keep their place, and time runs. */
  constructor(host, { select, live = false, tallest = 300 }) {
    Object.assign(this, { host, select, live, tallest, drawn: [], chosen: null });
    this.tip = Duetime.element("div", { class: "tip", hidden: true });
    document.body.append(this.tip);
    new ResizeObserver(() => this.draw()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /* lanes: what lane.py wrote. head(lane): what stands above it. */
  show(lanes, { from, to, now = null, head }) {
    const same = this.drawn.length === lanes.length && this.drawn.every((one, i) => one.lane.design === lanes[i].design);
    if (!same) {
      this.host.replaceChildren();
      this.axis = Duetime.element("canvas", { "aria-hidden": "true" });
      this.host.append(Duetime.element("div", { class: "axis" }, this.axis));
      this.drawn = lanes.map((lane, number) => this.make(lane, number));
    }
    Object.assign(this, { from, to, now, whole: [from, to] });
    lanes.forEach((lane, number) => {
      const one = this.drawn[number];
      const keep = this.live ? one.layout?.rows ?? new Map() : null;
      Object.assign(one, { lane, layout: Duetime.layout(lane.notes, keep) });
      one.head.replaceChildren(...head(lane));
    });
    this.draw();
  }

  make(lane, number) {
    const canvas = Duetime.element("canvas", { tabindex: "0", role: "img" });
    const head = Duetime.element("header");
    this.host.append(Duetime.element("section", { class: "lane", "data-design": lane.design }, head, canvas));
    const one = { canvas, head, lane, at: -1 };
    canvas.addEventListener("pointermove", (event) => this.point(one, event));
    canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    canvas.addEventListener("click", (event) => { const hit = this.hit(one, event); if (hit) this.choose(number, hit.note); });
    canvas.addEventListener("keydown", (event) => this.key(one, number, event));
    return one;
  }

  zoom(factor, middle = (this.from + this.to) / 2) {
    const [least, most] = this.whole, span = Math.min((this.to - this.from) * factor, most - least);
    if (span < 0.2) return;
    this.from = Math.max(least, Math.min(middle - span / 2, most - span));
    this.to = this.from + span;
    this.draw();
  }

  pan(share) {
    const span = this.to - this.from, [least, most] = this.whole;
    this.from = Math.max(least, Math.min(this.from + share * span, most - span));
    this.to = this.from + span;
    this.draw();
  }

  key(one, number, event) {
    const order = one.layout.all.slice().sort((a, b) => (b.worst !== null) - (a.worst !== null) || a.from - b.from);
    const moves = { ArrowRight: 1, ArrowLeft: -1, Home: -order.length, End: order.length };
    if (event.key in moves && order.length) {
      one.at = Math.max(0, Math.min(order.length - 1, one.at + moves[event.key]));
      this.choose(number, order[one.at].note);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.drawn[number + (event.key === "ArrowDown" ? 1 : -1)]?.canvas.focus();
    } else if (event.key === "+" || event.key === "=") this.zoom(0.6);
    else if (event.key === "-") this.zoom(1 / 0.6);
    else if (event.key === "0") this.zoom(1e9);
    else if (event.key === "," || event.key === ".") this.pan(event.key === "," ? -0.3 : 0.3);
    else return;
    event.preventDefault();
  }

  choose(number, note) {
    this.chosen = { number, key: note.key };
    this.draw();
    this.select(this.drawn[number].lane, note);
  }

  forget() { this.chosen = null; this.draw(); }

  x(at) { return ((at - this.from) / (this.to - this.from)) * this.width; }

  hit(one, event) {
    const box = one.canvas.getBoundingClientRect(), [px, py] = [event.clientX - box.left, event.clientY - box.top];
    let best = null, distance = 144;
    for (const { note } of one.layout.all) {
      const y = one.y(one.layout.rows.get(note.key));
      const [left, right] = [this.x(Duetime.begins(note)), this.x(Duetime.finishes(note))];
      const dx = Math.max(left - px, 0, px - right), d = dx * dx + (y - py) * (y - py);
      if (d < distance) { distance = d; best = { note }; }
    }
    return best;
  }

  point(one, event) {
    const hit = this.hit(one, event);
    this.tip.hidden = !hit;
    if (!hit) return;
    const last = hit.note.revs.at(-1);
    this.tip.textContent = `${hit.note.key}: ${Duetime.outcome(hit.note)}${last.due ? `, due ${Duetime.seconds(last.due)}` : ""}`;
    this.tip.style.left = `${Math.min(event.clientX + 14, innerWidth - 300)}px`;
    this.tip.style.top = `${event.clientY + 14}px`;
  }

  draw() {
    this.width = this.host.clientWidth;
    if (!this.width || !this.drawn.length || this.from === undefined) return;
    this.drawAxis();
    this.drawn.forEach((one, number) => this.drawLane(one, number));
  }

  drawAxis() {
    const context = Duetime.canvas(this.axis, this.width, 22);
    context.fillStyle = Duetime.colour("faint"); context.font = "12px system-ui, sans-serif"; context.textAlign = "center";
    const step = Duetime.step(this.to - this.from, this.width / 60);
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) {
      context.fillText(`${+at.toFixed(2)} s`, Math.max(14, Math.min(this.width - 16, this.x(at))), 15);
    }
  }

  drawLane(one, number) {
    const { lane, layout } = one;
    const loud = Math.min(layout.violating, 10), rest = layout.count - loud, top = 20;
    const quiet = rest ? Math.max(2, Math.min(9, (this.tallest - top - loud * 16) / rest)) : 0;
    const height = this.live ? this.tallest : Math.max(60, top + loud * 16 + rest * quiet + 6);
    const each = this.live ? Math.min(14, (height - top - 6) / Math.max(layout.count, 1)) : quiet;
    one.y = this.live ? (row) => top + (row + 0.5) * each
      : (row) => (row < loud ? top + (row + 0.5) * 16 : top + loud * 16 + (row - loud + 0.5) * quiet);
    const context = Duetime.canvas(one.canvas, this.width, height);
    context.font = "11px system-ui, sans-serif";
    this.grid(context, height);
    this.faults(context, lane, height);
    for (const { note, worst } of layout.all) {
      const row = layout.rows.get(note.key), roomy = !this.live && row < loud;
      this.note(context, lane, note, one.y(row), roomy ? 4.5 : Math.max(1.3, Math.min(4.5, each * 0.45)));
      if (worst && (roomy || (this.live && each > 8))) this.say(context, note, worst, one.y(row));
      if (this.chosen && this.chosen.number === number && this.chosen.key === note.key) {
        context.strokeStyle = Duetime.colour("focus"); context.lineWidth = 2;
        const [left, right] = [this.x(Duetime.begins(note)) - 7, this.x(Duetime.finishes(note)) + 7];
        context.strokeRect(left, one.y(row) - 8, right - left, 16);
      }
    }
    if (this.now !== null) {
      context.fillStyle = Duetime.colour("fail"); context.fillRect(this.x(this.now) - 1, 0, 2, height);
    }
    const bad = Duetime.tally(lane);
    one.canvas.setAttribute("aria-label",
      `${lane.design}: ${Duetime.many(lane)} notifications, ${bad || "nothing wrong"}. Left and right step through them, plus and minus zoom.`);
  }

  grid(context, height) {
    context.fillStyle = Duetime.colour("raised"); context.fillRect(0, 0, this.width, height);
    context.fillStyle = Duetime.colour("line");
    const step = Duetime.step(this.to - this.from, this.width / 60);
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) context.fillRect(this.x(at), 0, 1, height);
  }

  faults(context, lane, height) {
    lane.faults.forEach((fault, number) => {
      const until = fault.to ?? this.to, left = this.x(fault.from), right = Math.max(this.x(until), left + 2);
      if (right < 0 || left > this.width) return;
      context.globalAlpha = 0.2; context.fillStyle = fault.colour; context.fillRect(left, 0, right - left, height);
      context.globalAlpha = 1; context.fillRect(left, 0, right - left, 3);
      const over = fault.excused ?? this.to;
      if (over > until) {
        context.globalAlpha = 0.35; Duetime.hatch(context, right, 0, this.x(over) - right, 16, fault.colour); context.globalAlpha = 1;
      }
      context.fillStyle = Duetime.colour("ink"); context.textAlign = "left";
      const words = `${fault.title}${fault.target && !fault.title.includes(fault.target) ? ` (${fault.target})` : ""}`;
      context.fillText(words, Math.max(left + 4, 4), 14);
    });
  }

  note(context, lane, note, y, size) {
    let last = null;
    note.revs.forEach((rev, number) => {
      const gone = note.revs[number + 1]?.answered ?? Infinity, thick = Math.max(1.5, size * 1.1);
      if (rev.due !== undefined) {
        context.fillStyle = Duetime.colour("faint");
        const asked = this.x(rev.asked), until = this.x(Math.min(rev.due, gone));
        context.globalAlpha = 0.6; context.fillRect(asked, y - 0.5, Math.max(1, until - asked), 1); context.globalAlpha = 1;
        context.beginPath(); context.arc(asked, y, Math.min(2, size * 0.6), 0, 7); context.fill();
        if (number && size > 4) { context.textAlign = "left"; context.fillText("moved", this.x(rev.answered ?? rev.asked) + 2, y - 2); }
        if (rev.required) {
          this.window(context, lane, note, rev, y, thick);
          context.fillStyle = Duetime.colour("due");
          context.fillRect(this.x(rev.due) - 0.75, y - thick, 1.5, 2 * thick);
        }
        if (rev.state === "missed" || rev.state === "overdue") {
          Duetime.mark(context, rev.state, this.x(rev.state === "missed" ? rev.deadline ?? rev.due : Math.min(rev.deadline ?? rev.due, this.now ?? Infinity)), y, size);
        }
      } else if (rev.answered !== undefined && rev.answered !== null && size > 1.5) {
        const x = this.x(rev.answered);
        context.strokeStyle = Duetime.colour("faint"); context.lineWidth = 1.2; context.beginPath();
        context.moveTo(x, y - size); context.lineTo(x, y + size); context.moveTo(x - size, y); context.lineTo(x + 1, y); context.stroke();
      }
      for (const got of rev.got || []) {
        // Of the same instant, one above the other would hide it.
        const x = this.x(got[0]) + (last !== null && Math.abs(got[0] - last) * this.width / (this.to - this.from) < size ? size * 1.4 : 0);
        Duetime.mark(context, got[3], x, y, size); last = got[0];
      }
    });
  }

  window(context, lane, note, rev, y, thick) {
    // Under a fault that lasts nobody knows the deadline yet.
    const deadline = rev.deadline ?? this.to, left = this.x(rev.ready), right = this.x(deadline);
    context.fillStyle = Duetime.colour("window"); context.fillRect(left, y - thick, right - left, 2 * thick);
    for (const fault of lane.faults) {
      if (fault.only.length && !fault.only.some((beginning) => note.key.startsWith(beginning))) continue;
      const from = Math.max(rev.ready, fault.from), to = Math.min(deadline, fault.excused ?? this.to);
      if (to > from) {
        const x = this.x(from), width = this.x(to) - x;
        context.fillStyle = Duetime.colour("raised"); context.fillRect(x, y - thick, width, 2 * thick);
        Duetime.hatch(context, x, y - thick, width, 2 * thick, Duetime.colour("hatch"));
      }
    }
  }

  say(context, note, worst, y) {
    context.fillStyle = Duetime.colour(worst === "overdue" ? "missed" : worst);
    const x = this.x(Duetime.finishes(note)) + 9, words = this.live ? worst : `${worst} ${note.key}`;
    const fits = x + context.measureText(words).width < this.width;
    context.textAlign = fits ? "left" : "right";
    context.fillText(words, fits ? x : this.x(Duetime.begins(note)) - 6, y + 4);
  }
};

/* Of a run with too many notifications a part is drawn; what is counted is all of them. */
Duetime.many = (lane) => lane.part?.notes ?? lane.notes.length;
Duetime.part = (lane) => lane.part && `drawn: 1 in ${lane.part.every}, ${lane.part.every_wrong > 1 ? `and 1 in ${lane.part.every_wrong} of` : "and all of"} what went wrong`;
Duetime.standsFor = (lane, note) => (lane.part ? lane.part[Duetime.worst(note) ? "every_wrong" : "every"] : 1);
Duetime.violationCounts = function violationCounts(lane) {
  const found = new Map(Object.entries(lane.part?.violations ?? {}));
  if (!lane.part) for (const violation of lane.violations) found.set(violation.label, (found.get(violation.label) || 0) + 1);
  return found;
};

/* A lane's violations in a few words. */
Duetime.tally = function tally(lane) {
  const found = Duetime.violationCounts(lane);
  return [...found].map(([label, number]) => `${number} ${label}`).join(", ");
};

/* What became of a notification, in a few words. */
Duetime.outcome = function outcome(note) {
  const worst = Duetime.worst(note);
  if (worst) return worst;
  const last = note.revs.at(-1), got = note.revs.flatMap((rev) => rev.got || []);
  if (got.length) return Duetime.LABELS[got.at(-1)[3]] || got.at(-1)[3];
  if (last.due === undefined) return last.answer === "ok" ? "called off" : "its cancel was never answered";
  return { none_due: "taken back", indeterminate: "never acknowledged, never came", open: "awaited" }[last.state] || last.state;
};

/* One notification's story, as a list of sentences in the order of time. */
Duetime.events = function events(lane, note) {
  const lines = [];
  note.revs.forEach((rev, number) => {
    if (rev.asked !== undefined) {
      const verb = rev.due === undefined ? "cancelled" : number ? `rescheduled for ${Duetime.seconds(rev.due)}` : `scheduled for ${Duetime.seconds(rev.due)}`;
      const answer = { ok: `acknowledged at ${Duetime.seconds(rev.answered)}`, fail: "refused, so it never holds", info: "never answered" }[rev.answer];
      lines.push([rev.asked, `${rev.op} ${verb}; ${answer}`]);
    }
    if (rev.required && rev.deadline !== null) lines.push([rev.deadline, `the last moment at which ${rev.op} may come`]);
    for (const got of rev.got || []) {
      lines.push([got[0], `delivered by ${lane.workers[got[1]]}, attempt ${got[2]}: ${Duetime.LABELS[got[3]] || got[3]}`]);
    }
  });
  const [from, to] = [Duetime.begins(note), Duetime.finishes(note)];
  for (const fault of lane.faults) {
    if (fault.from <= to && (fault.excused ?? Infinity) >= from) {
      lines.push([fault.from, `fault ${fault.name}: ${fault.title} (${fault.target}) begins`]);
      if (fault.to !== null) lines.push([fault.to, `fault ${fault.name} is over`]);
    }
  }
  return lines.sort((a, b) => a[0] - b[0]);
};

Duetime.story = function story(lane, note, close) {
  const violations = lane.violations.filter((one) => note.revs.some((rev) => rev.op === one.op));
  const log = [...new Set(violations.flatMap((one) => one.log || []))];
  const e = Duetime.element;
  return e("section", { class: "story", "aria-label": `Story of ${note.key}`, tabindex: "-1" },
    e("h3", {}, `${note.key} under ${lane.design}: ${Duetime.outcome(note)} `, e("button", { onclick: close }, "Close")),
    ...violations.map((one) => e("p", {}, e("strong", {}, `${one.label}. `), one.text)),
    e("table", {}, e("tbody", {}, ...Duetime.events(lane, note).map(([at, words]) =>
      e("tr", {}, e("td", {}, Duetime.seconds(at)), e("td", {}, words))))),
    log.length ? e("details", { open: true }, e("summary", {}, "What the workers logged"), e("pre", {}, log.join("\n"))) : null,
    violations.length ? e("p", { class: "faint" }, `Evidence: ${[...new Set(violations.flatMap((one) => one.evidence))].join(", ")}`) : null);
};
