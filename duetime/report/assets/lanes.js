/* Draws runs as lanes over one time axis, from the data of lane.py. Used by the report and by the live page. */
"use strict";
const FONT = "11px system-ui, sans-serif", LABEL_ROW = 13;

/* The first violation of a notification in the order of VIOLATIONS, or "overdue", or null. */
Duetime.worst = function worst(note) {
  const labels = new Set();
  for (const rev of note.revs) {
    if (["missed", "overdue", "will_repeat"].includes(rev.state)) labels.add(rev.state);
    for (const delivery of rev.deliveries || []) labels.add(delivery[3]);
  }
  return [...Duetime.VIOLATIONS, "overdue"].find((label) => labels.has(label)) || null;
};

Duetime.start = (note) => Math.min(...note.revs.map((rev) => rev.invoked ?? rev.deliveries[0][0]));
Duetime.end = (note) => Math.max(...note.revs.map((rev) => Math.max(
  rev.due ?? rev.answered ?? 0, rev.required && !["delivered", "will_repeat"].includes(rev.state) ? rev.deadline ?? 0 : 0,
  ...(rev.deliveries || []).map((delivery) => delivery[0]))));

/* Assign a row to each notification: few rows, those with a violation first.
   keep: rows of an earlier layout, which do not change on the live page. */
Duetime.layout = function layout(notes, keep) {
  const rows = new Map(), usedUntil = [];
  const all = notes.map((note) => ({ note, from: Duetime.start(note), to: Duetime.end(note), worst: Duetime.worst(note) }));
  all.sort((a, b) => a.from - b.from);
  // The first of each kind before the second of any: one phantom must be visible among fifty missed.
  const seen = new Map();
  for (const placed of all) { seen.set(placed.worst, (seen.get(placed.worst) || 0) + 1); placed.nthOfKind = placed.worst === null ? Infinity : seen.get(placed.worst); }
  if (!keep) all.sort((a, b) => (a.nthOfKind === b.nthOfKind ? 0 : a.nthOfKind - b.nthOfKind) || a.from - b.from);
  if (keep) for (const { note, to } of all) {
    const row = keep.get(note.key);
    if (row !== undefined) { rows.set(note.key, row); usedUntil[row] = Math.max(usedUntil[row] ?? -Infinity, to); }
  }
  let violating = 0;
  for (const { note, from, to, worst } of all) {
    if (rows.has(note.key)) continue;
    if (!keep && worst !== null) { rows.set(note.key, usedUntil.length); usedUntil.push(Infinity); violating = usedUntil.length; continue; }
    let row = violating;
    while (row < usedUntil.length && (usedUntil[row] ?? -Infinity) > from - 0.15) row += 1;
    usedUntil[row] = to; rows.set(note.key, row);
  }
  return { rows, count: usedUntil.length, violating, all };
};

Duetime.Lanes = class Lanes {
  /* select(lane, note): called when a notification is chosen. live: rows keep their place, and time runs. */
  constructor(host, { select, live = false, tallest = 300 }) {
    Object.assign(this, { host, select, live, tallest, drawn: [], chosen: null });
    this.tip = Duetime.element("div", { class: "tip", hidden: true });
    document.body.append(this.tip);
    new ResizeObserver(() => this.draw()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /* lanes: data of lane.py. head(lane): the elements above a lane. highlighted(note): others are drawn pale. */
  show(lanes, { from, to, now = null, head, highlighted = null }) {
    const same = this.drawn.length === lanes.length && this.drawn.every((view, i) => view.lane.design === lanes[i].design);
    if (!same) {
      this.host.replaceChildren();
      this.axis = Duetime.element("canvas", { "aria-hidden": "true" });
      this.host.append(Duetime.element("div", { class: "axis" }, this.axis));
      this.drawn = lanes.map((lane, number) => this.makeView(lane, number));
    }
    Object.assign(this, { from, to, now, highlighted, whole: [from, to] });
    lanes.forEach((lane, number) => {
      const view = this.drawn[number];
      const keep = this.live ? view.layout?.rows ?? new Map() : null;
      Object.assign(view, { lane, layout: Duetime.layout(lane.notes, keep) });
      view.head.replaceChildren(...head(lane));
    });
    this.draw();
  }

  makeView(lane, number) {
    const canvas = Duetime.element("canvas", { tabindex: "0", role: "img" });
    const head = Duetime.element("header");
    this.host.append(Duetime.element("section", { class: "lane", "data-design": lane.design }, head, canvas));
    const view = { canvas, head, lane, at: -1 };
    canvas.addEventListener("pointermove", (event) => this.showTip(view, event));
    canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    canvas.addEventListener("click", (event) => { const note = this.nearest(view, event); if (note) this.choose(number, note); });
    canvas.addEventListener("keydown", (event) => this.onKey(view, number, event));
    return view;
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

  onKey(view, number, event) {
    const order = view.layout.all.slice().sort((a, b) => (b.worst !== null) - (a.worst !== null) || a.from - b.from);
    const moves = { ArrowRight: 1, ArrowLeft: -1, Home: -order.length, End: order.length };
    if (event.key in moves && order.length) {
      view.at = Math.max(0, Math.min(order.length - 1, view.at + moves[event.key]));
      this.choose(number, order[view.at].note);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.drawn[number + (event.key === "ArrowDown" ? 1 : -1)]?.canvas.focus();
    } else if (event.key === "+" || event.key === "=") this.zoom(0.6);
    else if (event.key === "-") this.zoom(1 / 0.6);
    else if (event.key === "0") this.zoom(1e9);
    else if (event.key === "," || event.key === ".") this.pan(event.key === "," ? -0.3 : 0.3);
    else return;
    event.preventDefault();
  }

  /* violation: its number, if one of several of the notification is meant. */
  choose(number, note, violation = null) {
    this.chosen = { number, key: note.key };
    this.draw();
    this.select(this.drawn[number].lane, note, violation);
  }

  clearChoice() { this.chosen = null; this.draw(); }

  x(at) { return ((at - this.from) / (this.to - this.from)) * this.width; }

  /* The notification within 12 pixels of the pointer, or null. */
  nearest(view, event) {
    const box = view.canvas.getBoundingClientRect(), [px, py] = [event.clientX - box.left, event.clientY - box.top];
    let nearest = null, distance = 144;
    for (const { note } of view.layout.all) {
      const y = view.y(view.layout.rows.get(note.key));
      const [left, right] = [this.x(Duetime.start(note)), this.x(Duetime.end(note))];
      const dx = Math.max(left - px, 0, px - right), d = dx * dx + (y - py) * (y - py);
      if (d < distance) { distance = d; nearest = note; }
    }
    return nearest;
  }

  showTip(view, event) {
    const note = this.nearest(view, event);
    this.tip.hidden = !note;
    if (!note) return;
    const last = note.revs.at(-1);
    this.tip.textContent = `${note.key}: ${Duetime.outcome(note)}${last.due ? `, due ${Duetime.seconds(last.due)}` : ""}`;
    this.tip.style.left = `${Math.min(event.clientX + 14, innerWidth - 300)}px`;
    this.tip.style.top = `${event.clientY + 14}px`;
  }

  draw() {
    this.width = this.host.clientWidth;
    if (!this.width || !this.drawn.length || this.from === undefined) return;
    this.drawAxis();
    this.drawn.forEach((view, number) => this.drawLane(view, number));
  }

  drawAxis() {
    const context = Duetime.canvas(this.axis, this.width, 22);
    context.fillStyle = Duetime.colour("faint"); context.font = "12px system-ui, sans-serif"; context.textAlign = "center";
    const step = Duetime.step(this.to - this.from, this.width / 60);
    for (let at = Math.ceil((this.live ? Math.max(0, this.from) : this.from) / step) * step; at <= this.to; at += step) {
      context.fillText(`${+at.toFixed(2)} s`, Math.max(14, Math.min(this.width - 16, this.x(at))), 15);
    }
  }

  /* Set the height of a lane and of its rows: up to ten rows with violations are tall, the others share the rest. */
  measureRows(view, labelRows) {
    const { layout } = view, tallRows = Math.min(layout.violating, 10), otherRows = layout.count - tallRows;
    const top = 20 + Math.max(0, labelRows - 1) * LABEL_ROW;
    const low = otherRows ? Math.max(2, Math.min(9, (this.tallest - top - tallRows * 16) / otherRows)) : 0;
    const height = this.live ? this.tallest : Math.max(60, top + tallRows * 16 + otherRows * low + 6);
    const each = this.live ? Math.min(20, (height - top - 6) / Math.max(layout.count, 1)) : low;
    view.y = this.live ? (row) => top + (row + 0.5) * each
      : (row) => (row < tallRows ? top + (row + 0.5) * 16 : top + tallRows * 16 + (row - tallRows + 0.5) * low);
    return { height, each, isTall: (row) => !this.live && row < tallRows };
  }

  drawLane(view, number) {
    const { lane, layout } = view, context = view.canvas.getContext("2d");
    context.font = FONT;
    const faults = this.faultLabels(context, lane), { height, each, isTall } = this.measureRows(view, faults.rows);
    Duetime.canvas(view.canvas, this.width, height).font = FONT;
    this.drawGrid(context, height);
    const isStrong = ({ note }) => !this.highlighted || this.highlighted(note), strong = layout.all.filter(isStrong);
    const pale = layout.all.filter((placed) => !isStrong(placed));
    const draw = ({ note, worst }) => {
      const row = layout.rows.get(note.key), y = view.y(row);
      this.drawNote(context, lane, note, y, isTall(row) ? 4.5 : Math.max(1.3, Math.min(this.live ? 6 : 4.5, each * 0.45)));
      if (worst && (isTall(row) || (this.live && each > 8))) this.drawLabel(context, note, worst, y);
      if (this.chosen && this.chosen.number === number && this.chosen.key === note.key) {
        const left = this.x(Duetime.start(note)) - 7;
        context.strokeStyle = Duetime.colour("focus"); context.lineWidth = 2;
        context.strokeRect(left, y - 8, this.x(Duetime.end(note)) + 7 - left, 16);
      }
    };
    pale.forEach(draw);
    context.globalAlpha = 0.65; context.fillStyle = Duetime.colour("raised");
    if (pale.length) context.fillRect(0, 0, this.width, height);
    context.globalAlpha = 1; this.drawFaults(context, lane, height, faults);
    context.globalAlpha = 0.12; context.fillStyle = Duetime.colour("focus");
    if (this.highlighted) for (const { note } of strong) {
      const left = this.x(Duetime.start(note)) - 6, y = view.y(layout.rows.get(note.key));
      context.fillRect(left, y - each / 2, this.x(Duetime.end(note)) + 6 - left, each);
    }
    context.globalAlpha = 1; strong.forEach(draw);
    if (this.now !== null) {
      context.fillStyle = Duetime.colour("fail"); context.fillRect(this.x(this.now) - 1, 0, 2, height);
    }
    view.canvas.setAttribute("aria-label",
      `${lane.design}: ${Duetime.noteCount(lane)} notifications, ${Duetime.tally(lane) || "no violations"}. Left and right select one, plus and minus zoom.`);
  }

  drawGrid(context, height) {
    context.fillStyle = Duetime.colour("raised"); context.fillRect(0, 0, this.width, height);
    context.fillStyle = Duetime.colour("line");
    const step = Duetime.step(this.to - this.from, this.width / 60);
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) context.fillRect(this.x(at), 0, 1, height);
  }

  /* Labels of visible faults. Those that would overlap get rows of their own. */
  faultLabels(context, lane) {
    const usedUntil = [], labels = new Map();
    for (const fault of lane.faults) {
      const words = `${fault.title}${fault.target && !fault.title.includes(fault.target) ? ` (${fault.target})` : ""}`;
      const width = context.measureText(words).width, begins = this.x(fault.from);
      if (begins > this.width || this.x(fault.to ?? this.to) < 0) continue;
      const x = Math.max(4, Math.min(begins + 4, this.width - width - 4));
      const free = usedUntil.findIndex((until) => until <= x), row = free < 0 ? usedUntil.length : free;
      usedUntil[row] = x + width + 8; labels.set(fault, { words, x, row });
    }
    return { labels, rows: usedUntil.length };
  }

  drawFaults(context, lane, height, { labels }) {
    lane.faults.forEach((fault) => {
      const healed = fault.to ?? this.to, left = this.x(fault.from), right = Math.max(this.x(healed), left + 2);
      if (right < 0 || left > this.width) return;
      context.globalAlpha = 0.2; context.fillStyle = fault.colour; context.fillRect(left, 0, right - left, height);
      context.globalAlpha = 1; context.fillRect(left, 0, right - left, 3);
      const recovered = fault.excused ?? this.to;
      if (recovered > healed) {
        context.globalAlpha = 0.35; Duetime.hatch(context, right, 0, this.x(recovered) - right, 16, fault.colour); context.globalAlpha = 1;
      }
    });
    // After all grounds, which would tint them.
    context.fillStyle = Duetime.colour("ink"); context.textAlign = "left";
    for (const { words, x, row } of labels.values()) context.fillText(words, x, 14 + row * LABEL_ROW);
  }

  drawNote(context, lane, note, y, size) {
    let lastAt = null;
    note.revs.forEach((rev, number) => {
      if (rev.due !== undefined) this.drawRevision(context, lane, note, number, y, size);
      else if (rev.answered !== undefined && rev.answered !== null && size > 1.5) {
        const x = this.x(rev.answered);
        context.strokeStyle = Duetime.colour("faint"); context.lineWidth = 1.2; context.beginPath();
        context.moveTo(x, y - size); context.lineTo(x, y + size); context.moveTo(x - size, y); context.lineTo(x + 1, y); context.stroke();
      }
      for (const [at, , , label] of rev.deliveries || []) {
        // Shifted if it would hide the mark before it.
        const hides = lastAt !== null && Math.abs(at - lastAt) * this.width / (this.to - this.from) < size;
        Duetime.mark(context, label, this.x(at) + (hides ? size * 1.4 : 0), y, size); lastAt = at;
      }
    });
  }

  drawRevision(context, lane, note, number, y, size) {
    const rev = note.revs[number], replaced = note.revs[number + 1]?.answered ?? Infinity, half = Math.max(1.5, size * 1.1);
    context.fillStyle = Duetime.colour("faint");
    const from = this.x(rev.invoked), to = this.x(Math.min(rev.due, replaced));
    context.globalAlpha = 0.6; context.fillRect(from, y - 0.5, Math.max(1, to - from), 1); context.globalAlpha = 1;
    context.beginPath(); context.arc(from, y, Math.min(2, size * 0.6), 0, 7); context.fill();
    if (number && size >= 4.5) { context.textAlign = "left"; this.drawMoved(context, this.x(rev.answered ?? rev.invoked) + 2, y - 2); }
    if (rev.required) {
      this.drawWindow(context, lane, note, rev, y, half);
      context.fillStyle = Duetime.colour("due");
      context.fillRect(this.x(rev.due) - 0.75, y - half, 1.5, 2 * half);
    }
    // The due time that a move or a cancel made void.
    if (!rev.required && this.highlighted?.(note)) {
      context.strokeStyle = Duetime.colour("due"); context.lineWidth = 1.5; context.setLineDash([3, 2]); context.beginPath();
      context.moveTo(this.x(rev.due), y - half * 1.4); context.lineTo(this.x(rev.due), y + half * 1.4); context.stroke(); context.setLineDash([]);
    }
    const deadline = rev.deadline ?? rev.due;
    if (rev.state === "missed") Duetime.mark(context, "missed", this.x(deadline), y, size);
    if (rev.state === "will_repeat") Duetime.mark(context, "will_repeat", this.x(lane.ends), y, size);
    if (rev.state === "overdue") Duetime.mark(context, "overdue", this.x(Math.min(deadline, this.now ?? Infinity)), y, size);
  }

  /* Small, so that it stays in its row. */
  drawMoved(context, x, y) {
    const font = context.font;
    context.font = "9px system-ui, sans-serif"; context.fillText("moved", x, y); context.font = font;
  }

  drawWindow(context, lane, note, rev, y, half) {
    // During a fault the deadline is not known yet.
    const deadline = rev.deadline ?? this.to, left = this.x(rev.ready), right = this.x(deadline);
    context.fillStyle = Duetime.colour("window"); context.fillRect(left, y - half, right - left, 2 * half);
    for (const fault of lane.faults) {
      if (fault.only.length && !fault.only.some((prefix) => note.key.startsWith(prefix))) continue;
      const from = Math.max(rev.ready, fault.from), to = Math.min(deadline, fault.excused ?? this.to);
      if (to > from) {
        const x = this.x(from), width = this.x(to) - x;
        context.fillStyle = Duetime.colour("raised"); context.fillRect(x, y - half, width, 2 * half);
        Duetime.hatch(context, x, y - half, width, 2 * half, Duetime.colour("hatch"));
      }
    }
  }

  /* On the right of its mark, or on the left; where neither has room, without the key, or not at all. */
  drawLabel(context, note, label, y) {
    const right = this.x(Duetime.end(note)) + 14, left = this.x(Duetime.start(note)) - 6;
    context.fillStyle = Duetime.colourOf(label);
    for (const words of this.live ? [label] : [`${label} ${note.key}`, label]) {
      const width = context.measureText(words).width, fits = right + width < this.width;
      if (!fits && left - width < 0) continue;
      context.textAlign = fits ? "left" : "right";
      context.fillText(words, fits ? right : left, y + 4);
      return;
    }
  }
};
