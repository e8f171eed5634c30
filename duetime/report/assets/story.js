/* Runs and notifications in words. */
"use strict";

/* A lane with a sample draws a part of its notifications; the numbers are those of all. */
Duetime.noteCount = (lane) => lane.sample?.notes ?? lane.notes.length;
Duetime.sampleText = (lane) => lane.sample && `drawn: 1 in ${lane.sample.every}, ${lane.sample.every_violating > 1 ? `and 1 in ${lane.sample.every_violating} of` : "and all of"} those with violations`;
Duetime.weight = (lane, note) => (lane.sample ? lane.sample[Duetime.worst(note) ? "every_violating" : "every"] : 1);
Duetime.violationCounts = function violationCounts(lane) {
  const counts = new Map(Object.entries(lane.sample?.violations ?? {}));
  if (!lane.sample) for (const violation of lane.violations) counts.set(violation.label, (counts.get(violation.label) || 0) + 1);
  return counts;
};
Duetime.tally = function tally(lane) {
  const counts = Duetime.violationCounts(lane);
  return Duetime.VIOLATIONS.filter((label) => counts.has(label)).map((label) => `${counts.get(label)} ${label}`).join(", ");
};

/* The labels of the marks in `lanes`, in the order of the legend. */
Duetime.usedLabels = function usedLabels(lanes) {
  const revs = lanes.flatMap((lane) => lane.notes.flatMap((note) => note.revs));
  const used = new Set(revs.flatMap((rev) => [rev.state, ...(rev.deliveries || []).map((delivery) => delivery[3])]));
  return ["on_time", "excused", "zombie", ...Duetime.VIOLATIONS].filter((label) => used.has(label));
};

/* The explanation of a violation, with its first sentence, the verdict, in bold; `where` is added to the verdict. */
Duetime.explanation = function explanation(violation, where = "") {
  const [verdict, ...rest] = violation.text.split(". ");
  return [Duetime.element("strong", {}, `${verdict}${where}. `), rest.join(". ")];
};

/* The result of a notification in a few words. */
Duetime.outcome = function outcome(note) {
  const worst = Duetime.worst(note);
  if (worst) return worst;
  const last = note.revs.at(-1), label = note.revs.flatMap((rev) => rev.deliveries || []).at(-1)?.[3];
  if (label) return Duetime.LABELS[label] || label;
  if (last.due === undefined) return last.answer === "ok" ? "cancelled" : "cancel not acknowledged";
  return { none_due: "cancelled or replaced", indeterminate: "not acknowledged, not delivered", open: "not due yet" }[last.state] || last.state;
};

/* [time, sentence] of everything that concerns a notification, in the order of time. */
Duetime.events = function events(lane, note) {
  const lines = [];
  note.revs.forEach((rev, number) => {
    if (rev.invoked !== undefined) {
      const verb = rev.due === undefined ? "cancelled" : number ? `rescheduled for ${Duetime.seconds(rev.due)}` : `scheduled for ${Duetime.seconds(rev.due)}`;
      const answer = { ok: `acknowledged at ${Duetime.seconds(rev.answered)}`, fail: "refused, so it has no effect", info: "not answered" }[rev.answer];
      lines.push([rev.invoked, `${rev.op} ${verb}; ${answer}`]);
    }
    if (rev.required && rev.deadline !== null) lines.push([rev.deadline, `deadline of ${rev.op}`]);
    for (const [at, worker, attempt, label] of rev.deliveries || []) {
      lines.push([at, `delivered by ${lane.workers[worker]}, attempt ${attempt}: ${Duetime.LABELS[label] || label}`]);
    }
  });
  const [start, end] = [Duetime.start(note), Duetime.end(note)];
  for (const fault of lane.faults) {
    if (fault.from <= end && (fault.excused ?? Infinity) >= start) {
      lines.push([fault.from, `fault ${fault.name}: ${fault.title} (${fault.target}) begins`]);
      if (fault.to !== null) lines.push([fault.to, `fault ${fault.name} is healed`]);
    }
  }
  return lines.sort((a, b) => a[0] - b[0]);
};

/* The section about a notification. explained(violation): its explanation; extras(violation): what stands after it.
   chosen: the number of the violation that a link names. */
Duetime.story = function story(lane, note, close, { explained = (violation) => violation.text, extras = () => [], chosen = null } = {}) {
  const violations = lane.violations.map((violation, number) => ({ ...violation, number }))
    .filter((violation) => note.revs.some((rev) => rev.op === violation.op));
  const log = [...new Set(violations.flatMap((violation) => violation.log || []))];
  const e = Duetime.element;
  return e("section", { class: "story", "aria-label": `Events of ${note.key}`, tabindex: "-1" },
    e("h3", {}, `${note.key} in ${lane.design}: ${Duetime.outcome(note)} `, e("button", { onclick: close }, "Close")),
    ...violations.map((violation) => e("p", { "aria-current": violation.number === chosen && "true" }, ...Duetime.explanation({ text: explained(violation) }), ...extras(violation))),
    e("table", {}, e("tbody", {}, ...Duetime.events(lane, note).map(([at, words]) =>
      e("tr", {}, e("td", {}, Duetime.seconds(at)), e("td", {}, words))))),
    log.length ? e("details", { open: true }, e("summary", {}, "Worker logs"), e("pre", {}, log.join("\n"))) : null,
    violations.length ? e("p", { class: "faint" }, `Evidence: ${[...new Set(violations.flatMap((violation) => violation.evidence))].join(", ")}`) : null);
};
