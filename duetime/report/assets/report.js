/* The report: a matrix that is there without this script, and pictures of whichever cells are looked at. */
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

  /* A run is unpacked when it is first looked at. */
  async function unpack(run) {
    if (run.lane) return;
    const bytes = Uint8Array.from(atob(run.packed.textContent), (letter) => letter.charCodeAt(0));
    run.lane = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  }

  const lanes = new Duetime.Lanes($("lanes"), { select: (lane, note) => tell(lane, note) });

  async function show(wanted) {
    name = groups.has(wanted) ? wanted : groups.keys().next().value;
    const wantedNow = name, runs = groups.get(name);
    await Promise.all(runs.map(unpack));
    // Another was chosen while this one was unpacked.
    if (wantedNow !== name) return;
    const to = Math.max(...runs.map((run) => run.lane.ends), 1);
    $("which").value = name;
    $("what").textContent = page.scenarios[runs[0].scenario] || "";
    close();
    lanes.show(runs.map((run) => run.lane), { from: Math.min(0, ...runs.flatMap((run) => run.lane.notes.map(Duetime.begins))), to, head });
    list(runs); table(runs); charts();
  }

  function head(lane) {
    const run = groups.get(name).find((one) => one.lane === lane);
    return [
      e("h3", {}, lane.design),
      e("span", { class: `verdict ${lane.outcome}` }, lane.outcome),
      e("span", {}, Duetime.tally(lane) || `${Duetime.many(lane)} notifications`),
      lane.part ? e("span", { class: "faint" }, Duetime.part(lane)) : null,
      run.lane.outcome === "fail" ? e("span", { class: "faint" }, run.within_guarantees ? "within its guarantees" : "breaks its guarantee") : null,
      e("code", { class: "faint" }, run.command),
    ].filter(Boolean);
  }

  function tell(lane, note) {
    open = { design: lane.design, key: note.key };
    const story = Duetime.story(lane, note, () => { close(); remember(); });
    $("story").replaceChildren(story);
    remember();
  }

  function close() {
    open = null;
    $("story").replaceChildren();
    lanes.forget();
  }

  function list(runs) {
    const items = [];
    runs.forEach((run, number) => {
      for (const violation of run.lane.violations.slice(0, 100)) {
        const note = run.lane.notes.find((one) => one.revs.some((rev) => rev.op === violation.op));
        if (note) items.push(e("li", {}, e("button", { onclick: () => { lanes.choose(number, note); $("story").firstChild.focus(); } },
          `${violation.label} ${violation.op}`), ` ${run.lane.design}, ${Duetime.seconds(violation.at)}`));
      }
      const all = total(run);
      if (all > 100) items.push(e("li", {}, `and ${all - 100} more of ${run.lane.design}${run.lane.part ? "" : ", in the table below"}`));
    });
    $("violations").replaceChildren(...(items.length ? items : [e("li", {}, "None.")]));
    $("how-many").textContent = `${runs.reduce((sum, run) => sum + total(run), 0)}`;
  }

  function total(run) { return [...Duetime.violationCounts(run.lane).values()].reduce((sum, number) => sum + number, 0); }

  function table(runs) {
    const twin = $("twin"), body = $("twin-rows");
    const fill = () => {
      if (!twin.open) return;
      body.replaceChildren(...runs.flatMap((run) => run.lane.notes.flatMap((note) => note.revs.map((rev) => e("tr", {},
        e("td", {}, run.lane.design), e("td", {}, rev.op), e("td", {}, rev.due === undefined ? (rev.asked === undefined ? "delivered unasked" : "cancel") : "schedule"),
        e("td", {}, rev.asked === undefined ? "" : Duetime.seconds(rev.asked)), e("td", {}, rev.answer || ""),
        e("td", {}, rev.due === undefined ? "" : Duetime.seconds(rev.due)),
        e("td", {}, rev.required && rev.deadline !== null ? Duetime.seconds(rev.deadline) : ""),
        e("td", {}, (rev.got || []).map((got) => `${Duetime.seconds(got[0])} by ${run.lane.workers[got[1]]}: ${got[3]}`).join("; ")),
        e("td", {}, rev.state || ""))))));
    };
    twin.ontoggle = fill;
    fill();
  }

  function charts() {
    if (!groups.get(name)?.every((run) => run.lane)) return;
    const drawn = groups.get(name).map((run) => run.lane), to = Math.max(...drawn.map((lane) => lane.ends), 1);
    Duetime.scatter($("scatter"), drawn, to);
    Duetime.ecdf($("ecdf"), drawn);
    $("scatter-key").replaceChildren(Duetime.key(drawn, false));
    $("ecdf-key").replaceChildren(Duetime.key(drawn, true));
  }

  /* What is looked at stands in the address, so that a link leads to it. */
  function remember() {
    const state = new URLSearchParams({ show: name, ...(open || {}) });
    history.replaceState(null, "", `#${state}`);
  }

  async function recall() {
    const state = new URLSearchParams(location.hash.slice(1));
    await show(state.get("show"));
    const number = groups.get(name).findIndex((run) => run.design === state.get("design"));
    const note = number >= 0 && groups.get(name)[number].lane.notes.find((one) => one.key === state.get("key"));
    if (note) lanes.choose(number, note);
  }

  document.body.classList.add("drawn");
  if (!groups.size) { $("look").hidden = true; document.body.classList.add("ready"); return; }
  $("which").replaceChildren(...[...groups.keys()].map((one) => e("option", { value: one }, one)));
  $("which").addEventListener("change", async () => { await show($("which").value); remember(); });
  for (const link of document.querySelectorAll("[data-show]")) {
    link.addEventListener("click", async (event) => {
      event.preventDefault();
      if (!groups.has(link.dataset.show)) return;
      await show(link.dataset.show); remember();
      $("look").scrollIntoView({ behavior: Duetime.calm() ? "auto" : "smooth" });
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
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", charts);
  new ResizeObserver(() => charts()).observe($("charts"));
  addEventListener("hashchange", recall);
  recall().then(() => document.body.classList.add("ready"));
})();
