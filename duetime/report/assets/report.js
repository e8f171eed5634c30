/* The report: draws the runs of the chosen cell. The matrix does not need this script. */
"use strict";
(() => {
  const page = JSON.parse(document.getElementById("runs").textContent);
  const e = Duetime.element, $ = (id) => document.getElementById(id);
  const groups = new Map();
  const packed = document.querySelectorAll(".lane-data");
  page.runs.forEach((run, number) => {
    run.packed = packed[number];
    const name = `${run.scenario} seed ${run.seed}`;
    groups.set(name, [...(groups.get(name) || []), run]);
  });
  let name = null, open = null;

  /* Unpack a run the first time it is shown. */
  async function unpack(run) {
    if (run.lane) return;
    const bytes = Uint8Array.from(atob(run.packed.textContent), (letter) => letter.charCodeAt(0));
    run.lane = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  }

  const lanes = new Duetime.Lanes($("lanes"), { select: (lane, note) => showStory(lane, note) });

  async function show(wanted) {
    name = groups.has(wanted) ? wanted : groups.keys().next().value;
    const wantedNow = name, runs = groups.get(name);
    await Promise.all(runs.map(unpack));
    // Another scenario was chosen meanwhile.
    if (wantedNow !== name) return;
    const to = Math.max(...runs.map((run) => run.lane.ends), 1);
    $("which").value = name;
    $("what").textContent = page.scenarios[runs[0].scenario] || "";
    close();
    lanes.show(runs.map((run) => run.lane), { from: Math.min(0, ...runs.flatMap((run) => run.lane.notes.map(Duetime.start))), to, head });
    listViolations(runs); fillTable(runs); drawCharts();
  }

  function head(lane) {
    const run = groups.get(name).find((candidate) => candidate.lane === lane);
    return [
      e("h3", {}, lane.design),
      e("span", { class: `verdict ${lane.outcome}` }, lane.outcome),
      e("span", {}, Duetime.tally(lane) || `${Duetime.noteCount(lane)} notifications`),
      lane.sample ? e("span", { class: "faint" }, Duetime.sampleText(lane)) : null,
      run.lane.outcome === "fail" ? e("span", { class: "faint" }, run.within_guarantees ? "within its guarantees" : "breaks its guarantee") : null,
      e("code", { class: "faint" }, run.command),
    ].filter(Boolean);
  }

  function showStory(lane, note) {
    open = { design: lane.design, key: note.key };
    const story = Duetime.story(lane, note, () => { close(); remember(); });
    $("story").replaceChildren(story);
    remember();
  }

  function close() {
    open = null;
    $("story").replaceChildren();
    lanes.clearChoice();
  }

  function listViolations(runs) {
    const items = [];
    runs.forEach((run, number) => {
      for (const violation of run.lane.violations.slice(0, 100)) {
        const note = run.lane.notes.find((candidate) => candidate.revs.some((rev) => rev.op === violation.op));
        if (note) items.push(e("li", {}, e("button", { onclick: () => { lanes.choose(number, note); $("story").firstChild.focus(); } },
          `${violation.label} ${violation.op}`), ` ${run.lane.design}, ${Duetime.seconds(violation.at)}`));
      }
      const all = total(run);
      if (all > 100) items.push(e("li", {}, `and ${all - 100} more of ${run.lane.design}${run.lane.sample ? "" : ", in the table below"}`));
    });
    $("violations").replaceChildren(...(items.length ? items : [e("li", {}, "None.")]));
    $("how-many").textContent = `${runs.reduce((sum, run) => sum + total(run), 0)}`;
  }

  function total(run) { return [...Duetime.violationCounts(run.lane).values()].reduce((sum, number) => sum + number, 0); }

  function fillTable(runs) {
    const details = $("table"), body = $("table-rows");
    const fill = () => {
      if (!details.open) return;
      body.replaceChildren(...runs.flatMap((run) => run.lane.notes.flatMap((note) => note.revs.map((rev) => e("tr", {},
        e("td", {}, run.lane.design), e("td", {}, rev.op), e("td", {}, rev.due === undefined ? (rev.invoked === undefined ? "delivered without a call" : "cancel") : "schedule"),
        e("td", {}, rev.invoked === undefined ? "" : Duetime.seconds(rev.invoked)), e("td", {}, rev.answer || ""),
        e("td", {}, rev.due === undefined ? "" : Duetime.seconds(rev.due)),
        e("td", {}, rev.required && rev.deadline !== null ? Duetime.seconds(rev.deadline) : ""),
        e("td", {}, (rev.deliveries || []).map(([at, worker, , label]) => `${Duetime.seconds(at)} by ${run.lane.workers[worker]}: ${label}`).join("; ")),
        e("td", {}, rev.state || ""))))));
    };
    details.ontoggle = fill;
    fill();
  }

  function drawCharts() {
    if (!groups.get(name)?.every((run) => run.lane)) return;
    const drawn = groups.get(name).map((run) => run.lane), to = Math.max(...drawn.map((lane) => lane.ends), 1);
    Duetime.scatter($("scatter"), drawn, to);
    Duetime.ecdf($("ecdf"), drawn);
    $("scatter-key").replaceChildren(Duetime.key(drawn, false));
    $("ecdf-key").replaceChildren(Duetime.key(drawn, true));
  }

  /* Keep the choice in the address, so that it can be linked. */
  function remember() {
    const state = new URLSearchParams({ show: name, ...(open || {}) });
    history.replaceState(null, "", `#${state}`);
  }

  async function recall() {
    const state = new URLSearchParams(location.hash.slice(1));
    await show(state.get("show"));
    const number = groups.get(name).findIndex((run) => run.design === state.get("design"));
    const note = number >= 0 && groups.get(name)[number].lane.notes.find((candidate) => candidate.key === state.get("key"));
    if (note) lanes.choose(number, note);
  }

  document.body.classList.add("drawn");
  if (!groups.size) { $("runs-section").hidden = true; document.body.classList.add("ready"); return; }
  $("which").replaceChildren(...[...groups.keys()].map((group) => e("option", { value: group }, group)));
  $("which").addEventListener("change", async () => { await show($("which").value); remember(); });
  for (const link of document.querySelectorAll("[data-show]")) {
    link.addEventListener("click", async (event) => {
      event.preventDefault();
      if (!groups.has(link.dataset.show)) return;
      await show(link.dataset.show); remember();
      $("runs-section").scrollIntoView({ behavior: Duetime.reducedMotion() ? "auto" : "smooth" });
      $("lanes").querySelector(`[data-design="${CSS.escape(link.dataset.design)}"] canvas`)?.focus({ preventScroll: true });
    });
  }
  $("in").addEventListener("click", () => lanes.zoom(0.6));
  $("out").addEventListener("click", () => lanes.zoom(1 / 0.6));
  $("all").addEventListener("click", () => lanes.zoom(1e9));
  $("left").addEventListener("click", () => lanes.pan(-0.3));
  $("right").addEventListener("click", () => lanes.pan(0.3));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && open) { close(); remember(); } });
  $("legend").replaceChildren(Duetime.legend(["on_time", "excused", ...Duetime.VIOLATIONS]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
  new ResizeObserver(drawCharts).observe($("charts"));
  addEventListener("hashchange", recall);
  recall().then(() => document.body.classList.add("ready"));
})();
