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
  // The choice: a group of runs, one of its designs, and a notification with one of its violations.
  let name = null, design = null, open = null, shown = [];

  /* Unpack a run the first time it is shown. */
  async function unpack(run) {
    if (run.lane) return;
    const bytes = Uint8Array.from(atob(run.packed.textContent), (letter) => letter.charCodeAt(0));
    run.lane = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  }

  const lanes = new Duetime.Lanes($("lanes"), { select: showStory });

  /* Show a group of runs, with the chosen design first. */
  async function show(wanted, wantedDesign) {
    name = groups.has(wanted) ? wanted : page.opens_on.show;
    const wantedNow = name, runs = groups.get(name);
    const chosen = runs.find((run) => run.design === wantedDesign) || (name === page.opens_on.show && runs.find((run) => run.design === page.opens_on.design)) || runs[0];
    design = chosen.design;
    await Promise.all(runs.map(unpack));
    // Another scenario was chosen meanwhile.
    if (wantedNow !== name || design !== chosen.design) return false;
    shown = [chosen, ...runs.filter((run) => run !== chosen)];
    const to = Math.max(...runs.map((run) => run.lane.ends), 1);
    $("which").value = name;
    $("what").textContent = page.scenarios[chosen.scenario] || "";
    close();
    $("cell").replaceChildren(cellPanel(chosen));
    lanes.show(shown.map((run) => run.lane), { from: Math.min(0, ...runs.flatMap((run) => run.lane.notes.map(Duetime.start))), to, head });
    $("legend").replaceChildren(Duetime.legend(Duetime.usedLabels(shown.map((run) => run.lane))));
    listViolations(shown); fillTable(shown); drawCharts();
    for (const link of document.querySelectorAll(".matrix [data-show]")) {
      if (link.dataset.show === name && link.dataset.design === design) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    return true;
  }

  const isWorst = (run) => run.lane.outcome === "fail" && name === page.opens_on.show && run.design === page.opens_on.design;

  function cellPanel(run) {
    const { outcome } = run.lane, causes = Object.entries(run.causes).filter(([, cause]) => cause);
    return e("section", { class: `cell is-${outcome}`, "aria-label": "The chosen run" },
      e("h3", {}, isWorst(run) ? e("span", { class: "faint" }, "The worst run: ") : null, `${run.design} in ${run.scenario}: `, e("span", { class: `verdict ${outcome}` }, outcome), " ", copyButton({ show: name, design: run.design })),
      outcome === "fail" ? e("p", {}, e("strong", {}, { true: "It fails as documented: ", false: "It breaks its guarantee: " }[run.within_guarantees] ?? "It fails: "), explained(run.explanation, causes.length))
        : e("p", {}, run.explanation || "No violation."),
      ...causes.map(([label, cause]) => e("p", {}, e("strong", {}, `Why ${label.replace("_", " ")}? `), ...why(cause))),
      e("p", { class: "faint" }, "Repeat it: ", e("code", {}, run.command)));
  }

  /* The explanation by the checker; without its general advice where the cause has its own. */
  const explained = (text, hasCause) => (hasCause ? text.replace(/ ?Fix: [^.]*\./g, "") : text);
  const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}.`;

  /* Cause, setting, fix and sources. */
  function why(cause) {
    return [cause.cause ? sentence(cause.cause) : "", cause.setting ? ` Setting: ${cause.setting}.` : "", e("br"), e("strong", {}, "In your code: "), sentence(cause.fix), " ",
      e("a", { href: cause.page }, "Findings"), cause.upstream ? " " : "", cause.upstream ? e("a", { href: cause.upstream }, "Upstream") : "",
      cause.better ? ` Without it: ${cause.better}.` : ""];
  }

  function head(lane) {
    const run = shown.find((candidate) => candidate.lane === lane);
    const allowed = { true: "within its guarantees", false: "breaks its guarantee" }[run.within_guarantees];
    return [
      e("h3", {}, lane.design),
      e("span", { class: `verdict ${lane.outcome}` }, lane.outcome),
      e("span", {}, Duetime.tally(lane) || `${Duetime.noteCount(lane)} notifications`),
      lane.sample ? e("span", { class: "faint" }, Duetime.sampleText(lane)) : null,
      run.lane.outcome === "fail" && allowed ? e("span", { class: "faint" }, allowed) : null,
      run.design === design ? null : e("a", { href: fragment({ show: name, design: run.design }) }, "explain"),
    ].filter(Boolean);
  }

  function showStory(lane, note, violation = null) {
    open = { key: note.key, ...(violation === null ? {} : { violation }) };
    const run = shown.find((candidate) => candidate.lane === lane);
    const story = Duetime.story(lane, note, () => { close(); remember(); }, {
      explained: (violation) => explained(violation.text, run.causes[violation.label]),
      extras: (violation) => [...(run.causes[violation.label] ? [e("br"), e("strong", {}, "Why? "), ...why(run.causes[violation.label])] : []),
        " ", copyButton(addressOf(run, note, violation.number))],
      chosen: violation,
    });
    $("story").replaceChildren(story);
    // Below its lane: the page may have a dozen.
    lanes.drawn.find((view) => view.lane === lane).canvas.after($("story"));
    remember(run.design);
  }

  function close() {
    open = null;
    $("story").replaceChildren();
    $("lanes").after($("story"));
    lanes.clearChoice();
  }

  /* The fragment of an address, and the whole address, which another person with the file can open. */
  const fragment = (address) => `#${new URLSearchParams(address)}`;
  const addressOf = (run, note, number) => ({ show: name, design: run.design, key: note.key, violation: number });

  function copyButton(address) {
    return e("button", { class: "copy", type: "button", onclick: async (event) => {
      const button = event.currentTarget, link = location.href.split("#")[0] + fragment(address);
      // A file has no clipboard in some browsers.
      try { await navigator.clipboard.writeText(link); button.textContent = "Copied"; } catch { prompt("The link:", link); }
      setTimeout(() => { button.textContent = "Copy link"; }, 2000);
    } }, "Copy link");
  }

  function listViolations(runs) {
    const items = [];
    for (const run of runs) {
      const rank = ([violation]) => Duetime.VIOLATIONS.indexOf(violation.label);
      const gravestFirst = run.lane.violations.map((violation, number) => [violation, number]).sort((a, b) => rank(a) - rank(b) || a[1] - b[1]);
      gravestFirst.slice(0, 100).forEach(([violation, number]) => {
        const note = noteOf(run, violation);
        if (note) items.push(e("li", {}, e("a", { href: fragment(addressOf(run, note, number)) }, `${violation.label} ${violation.op}`),
          ` ${run.lane.design}, ${Duetime.seconds(violation.at)} `, run.causes[violation.label] ? e("a", { href: run.causes[violation.label].page }, "why") : "", " ", copyButton(addressOf(run, note, number))));
      });
      const all = total(run);
      if (all > 100) items.push(e("li", {}, `and ${all - 100} more of ${run.lane.design}${run.lane.sample ? "" : ", in the table below"}`));
    }
    $("violations").replaceChildren(...(items.length ? items : [e("li", {}, "None.")]));
    $("how-many").textContent = `${runs.reduce((sum, run) => sum + total(run), 0)}`;
  }

  const noteOf = (run, violation) => run.lane.notes.find((note) => note.revs.some((rev) => rev.op === violation?.op));

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
  function remember(of = design) { history.replaceState(null, "", fragment({ show: name, design: of, ...open })); }

  /* Show what the address asks for; without one, the worst run. */
  async function recall() {
    const asked = new URLSearchParams(location.hash.slice(1)), wanted = asked.get("show");
    if (!wanted && location.hash && groups.has(name)) return;
    if (!await show(wanted, asked.get("design"))) return;
    const run = shown[0], number = asked.has("violation") ? Number(asked.get("violation")) : null;
    const violation = number === null ? null : run.lane.violations[number];
    const note = run.lane.notes.find((candidate) => candidate.key === asked.get("key"));
    const missing = wanted && (wanted !== name || (asked.has("design") && run.design !== asked.get("design")) || (asked.has("key") && !note));
    $("not-here").hidden = !missing;
    $("not-here").textContent = missing ? "The link names a run or a notification that this report does not have. This is the nearest." : "";
    if (note) {
      lanes.choose(0, note, noteOf(run, violation) === note ? number : null);
      $("story").firstChild.focus({ preventScroll: true });
    }
    else if (wanted) $("lanes").querySelector(".lane canvas").focus({ preventScroll: true });
    if (!wanted) return;
    const target = note ? $("story").firstChild : $("runs-section"), fits = target.clientHeight < innerHeight;
    target.scrollIntoView({ behavior: Duetime.reducedMotion() ? "auto" : "smooth", block: note && fits ? "center" : "start" });
  }

  document.body.classList.add("drawn");
  if (!groups.size) { $("runs-section").hidden = true; document.body.classList.add("ready"); return; }
  $("which").replaceChildren(...[...groups.keys()].map((group) => e("option", { value: group }, group)));
  $("which").addEventListener("change", async () => { await show($("which").value); remember(); });
  // A second click on a link changes no address.
  document.addEventListener("click", (event) => { const link = event.target.closest("a[href^='#']"); if (link?.hash === location.hash) recall(); });
  $("in").addEventListener("click", () => lanes.zoom(0.6));
  $("out").addEventListener("click", () => lanes.zoom(1 / 0.6));
  $("all").addEventListener("click", () => lanes.zoom(1e9));
  $("left").addEventListener("click", () => lanes.pan(-0.3));
  $("right").addEventListener("click", () => lanes.pan(0.3));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && open) { close(); remember(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
  new ResizeObserver(drawCharts).observe($("charts"));
  addEventListener("hashchange", recall);
  recall().then(() => document.body.classList.add("ready"));
})();
