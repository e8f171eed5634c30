/* Two charts of lateness: over due time, and as a distribution. */
"use strict";

Duetime.SERIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7f7f7f", "#9467bd"];
Duetime.SHAPES = ["on_time", "stale", "late", "duplicate", "excused", "phantom", "early", "missed", "overdue"];

/* [due, lateness, weight] in seconds of the first delivery of each acknowledged revision, as the checker counts it. */
Duetime.lateness = (lane) => lane.notes.flatMap((note) => note.revs
  .filter((rev) => rev.answer === "ok" && rev.due !== undefined && rev.deliveries?.length)
  .map((rev) => [rev.due, Math.min(...rev.deliveries.map((delivery) => delivery[0])) - rev.ready, Duetime.weight(lane, note)]));

Duetime.frame = function frame(context, width, height, { left = 62, right = 12, top = 14, bottom = 38 } = {}) {
  return { left, top, width: width - left - right, height: height - top - bottom, bottom: height - bottom, right: width - right };
};

Duetime.drawAxes = function drawAxes(context, box, xs, ys, xTitle, yTitle) {
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
  Duetime.drawAxes(context, box, ticks(to, width / 70).map((at) => [x(at), `${+at.toFixed(2)}`]),
    ticks(most, 5).map((late) => [y(late), `${+late.toFixed(2)}`]), "due, seconds after the start", "lateness, s");
  points.forEach((all, number) => {
    for (const [due, late] of all) Duetime.seriesMark(context, number, x(due), y(late));
  });
};

Duetime.seriesColour = (number) => Duetime.SERIES[number % Duetime.SERIES.length];
Duetime.seriesMark = (context, number, x, y) =>
  Duetime.mark(context, Duetime.SHAPES[number % Duetime.SHAPES.length], x, y, 3, Duetime.seriesColour(number));

Duetime.ecdf = function ecdf(canvas, lanes) {
  const width = canvas.parentElement.clientWidth, context = Duetime.canvas(canvas, width, 260), box = Duetime.frame(context, width, 260);
  const all = lanes.map((lane) => Duetime.lateness(lane).map((point) => [Math.max(point[1], 0.001), point[2]]).sort((a, b) => a[0] - b[0]));
  const most = Math.max(1, ...all.map((sorted) => sorted.at(-1)?.[0] ?? 0)), decades = Math.log10(most / 0.001);
  const x = (late) => box.left + (Math.log10(late / 0.001) / decades) * box.width, y = (share) => box.bottom - share * box.height;
  const ticks = [0.001, 0.01, 0.1, 1, 10, 100].filter((late) => late <= most);
  Duetime.drawAxes(context, box, ticks.map((late) => [x(late), late < 1 ? `${late * 1000} ms` : `${late} s`]),
    [0, 0.25, 0.5, 0.75, 1].map((share) => [y(share), `${share * 100} %`]), "lateness (logarithmic)", "share delivered");
  all.forEach((sorted, number) => {
    if (!sorted.length) return;
    // Missed notifications count: the curve of a design that misses some does not reach 100 %.
    const delivered = sorted.reduce((sum, point) => sum + point[1], 0), total = delivered + (Duetime.violationCounts(lanes[number]).get("missed") || 0);
    context.strokeStyle = Duetime.seriesColour(number); context.lineWidth = 2; context.beginPath();
    context.setLineDash([[], [6, 3], [2, 3]][number % 3]);
    context.moveTo(x(sorted[0][0]), y(0));
    let soFar = 0;
    for (const [late, weight] of sorted) { context.lineTo(x(late), y(soFar / total)); soFar += weight; context.lineTo(x(late), y(soFar / total)); }
    context.lineTo(box.right, y(delivered / total)); context.stroke(); context.setLineDash([]);
  });
};

Duetime.key = function key(lanes, lines) {
  return Duetime.element("ul", { class: "legend" }, ...lanes.map((lane, number) => {
    const canvas = Duetime.element("canvas", { "aria-hidden": "true" }), context = Duetime.canvas(canvas, 22, 16);
    if (lines) {
      context.strokeStyle = Duetime.seriesColour(number); context.lineWidth = 2;
      context.setLineDash([[], [6, 3], [2, 3]][number % 3]);
      context.beginPath(); context.moveTo(1, 8); context.lineTo(21, 8); context.stroke();
    } else Duetime.seriesMark(context, number, 11, 8);
    return Duetime.element("li", {}, canvas, lane.design);
  }));
};
