/* Lateness as a cloud over time and as a distribution, and what a stored benchmark measured. */
"use strict";

Duetime.SERIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7f7f7f", "#9467bd"];
Duetime.SHAPES = ["on_time", "stale", "late", "duplicate", "excused", "phantom", "early", "missed", "overdue"];

/* [due, lateness, how many it stands for] of the first delivery of everything that was acknowledged, in seconds: as the checker counts it. */
Duetime.lateness = (lane) => lane.notes.flatMap((note) => note.revs.filter((rev) => rev.answer === "ok" && rev.due !== undefined && rev.got?.length)
  .map((rev) => [rev.due, Math.min(...rev.got.map((got) => got[0])) - rev.ready, Duetime.standsFor(lane, note)]));

Duetime.frame = function frame(context, width, height, { left = 62, right = 12, top = 14, bottom = 38 } = {}) {
  return { left, top, width: width - left - right, height: height - top - bottom, bottom: height - bottom, right: width - right };
};

Duetime.labelled = function labelled(context, box, xs, ys, xTitle, yTitle) {
  context.font = "12px system-ui, sans-serif"; context.lineWidth = 1;
  for (const [x, words] of xs) {
    context.fillStyle = Duetime.colour("line"); context.fillRect(x, box.top, 1, box.height);
    context.fillStyle = Duetime.colour("faint"); context.textAlign = "center"; context.fillText(words, x, box.bottom + 15);
  }
  for (const [y, words] of ys) {
    context.fillStyle = Duetime.colour("line"); context.fillRect(box.left, y, box.width, 1);
    context.fillStyle = Duetime.colour("faint"); context.textAlign = "right"; context.fillText(words, box.left - 6, y + 4);
  }
  context.fillStyle = Duetime.colour("ink");
  context.textAlign = "center"; context.fillText(xTitle, box.left + box.width / 2, box.bottom + 32);
  context.save(); context.translate(12, box.top + box.height / 2); context.rotate(-Math.PI / 2);
  context.fillText(yTitle, 0, 0); context.restore();
};

Duetime.scatter = function scatter(canvas, lanes, to) {
  const width = canvas.parentElement.clientWidth, context = Duetime.canvas(canvas, width, 260), box = Duetime.frame(context, width, 260);
  const points = lanes.map(Duetime.lateness), most = Math.max(0.1, ...points.flat().map((point) => point[1])) * 1.05;
  const x = (at) => box.left + (at / to) * box.width, y = (late) => box.bottom - (Math.max(late, 0) / most) * box.height;
  const ticks = (span, room) => { const step = Duetime.step(span, room); return Array.from({ length: Math.floor(span / step) + 1 }, (_, i) => i * step); };
  const faults = new Map(lanes.flatMap((lane) => lane.faults.map((fault) => [fault.name, fault])));
  for (const fault of faults.values()) {
    context.globalAlpha = 0.18; context.fillStyle = fault.colour;
    context.fillRect(x(fault.from), box.top, x(fault.to ?? to) - x(fault.from), box.height); context.globalAlpha = 1;
  }
  Duetime.labelled(context, box, ticks(to, width / 70).map((at) => [x(at), `${+at.toFixed(2)}`]),
    ticks(most, 5).map((late) => [y(late), `${+late.toFixed(2)}`]), "due, seconds after the start", "lateness, s");
  points.forEach((all, number) => {
    for (const [due, late] of all) Duetime.series(context, number, x(due), y(late));
  });
};

Duetime.series = function series(context, number, x, y) {
  const real = Duetime.colour;
  Duetime.colour = () => Duetime.SERIES[number % Duetime.SERIES.length];
  Duetime.mark(context, Duetime.SHAPES[number % Duetime.SHAPES.length], x, y, 3);
  Duetime.colour = real;
};

Duetime.ecdf = function ecdf(canvas, lanes) {
  const width = canvas.parentElement.clientWidth, context = Duetime.canvas(canvas, width, 260), box = Duetime.frame(context, width, 260);
  const all = lanes.map((lane) => Duetime.lateness(lane).map((point) => [Math.max(point[1], 0.001), point[2]]).sort((a, b) => a[0] - b[0]));
  const most = Math.max(1, ...all.map((sorted) => sorted.at(-1)?.[0] ?? 0)), decades = Math.log10(most / 0.001);
  const x = (late) => box.left + (Math.log10(late / 0.001) / decades) * box.width, y = (share) => box.bottom - share * box.height;
  const ticks = [0.001, 0.01, 0.1, 1, 10, 100].filter((late) => late <= most);
  Duetime.labelled(context, box, ticks.map((late) => [x(late), late < 1 ? `${late * 1000} ms` : `${late} s`]),
    [0, 0.25, 0.5, 0.75, 1].map((share) => [y(share), `${share * 100} %`]), "lateness (logarithmic)", "delivered by then");
  all.forEach((sorted, number) => {
    if (!sorted.length) return;
    // What never came is part of the whole: the curve of who misses does not reach the top.
    const came = sorted.reduce((sum, point) => sum + point[1], 0), whole = came + (Duetime.violationCounts(lanes[number]).get("missed") || 0);
    context.strokeStyle = Duetime.SERIES[number % Duetime.SERIES.length]; context.lineWidth = 2; context.beginPath();
    context.setLineDash([[], [6, 3], [2, 3]][number % 3]);
    context.moveTo(x(sorted[0][0]), y(0));
    let by = 0;
    for (const [late, many] of sorted) { context.lineTo(x(late), y(by / whole)); by += many; context.lineTo(x(late), y(by / whole)); }
    context.lineTo(box.right, y(came / whole)); context.stroke(); context.setLineDash([]);
  });
};

Duetime.key = function key(lanes, lines) {
  return Duetime.element("ul", { class: "legend" }, ...lanes.map((lane, number) => {
    const canvas = Duetime.element("canvas", { "aria-hidden": "true" }), context = Duetime.canvas(canvas, 22, 16);
    if (lines) {
      context.strokeStyle = Duetime.SERIES[number % Duetime.SERIES.length]; context.lineWidth = 2;
      context.setLineDash([[], [6, 3], [2, 3]][number % 3]);
      context.beginPath(); context.moveTo(1, 8); context.lineTo(21, 8); context.stroke();
    } else Duetime.series(context, number, 11, 8);
    return Duetime.element("li", {}, canvas, lane.design);
  }));
};
