"use strict";
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const matters = new Set(DATA.kinds);

  function e(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== false && value !== null) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== ""));
    return node;
  }

  const distinct = (field) => [...new Set(DATA.rows.map((row) => row[field]))].sort();
  const option = (value, text = value) => e("option", { value }, text);
  const words = (kind) => kind.replace("_", " ");

  /* The kind that a reader chooses: a missed notification may be lost, stuck or failed. */
  const chosenKind = (kind) => (DATA.parts.includes(kind) ? "missed" : kind);
  const shows = (run, kinds) => Object.keys(run.kinds).some((kind) => kinds.has(chosenKind(kind)));

  /* How a cell looks to a reader to whom only some kinds of violations matter. */
  function look(cell) {
    if (!cell) return { mark: "", name: "not run", class: "not-applicable" };
    if (cell.not_applicable) return { mark: "", name: "not applicable", class: "not-applicable" };
    if (!cell.judged) return { mark: "", name: "unknown", class: "unknown" };
    const failing = cell.runs.filter((run) => shows(run, matters)).length;
    if (failing) {
      const part = failing < cell.judged;
      return { failing, mark: part ? `${failing}/${cell.judged}` : "", name: `fails in ${failing} of ${cell.judged} runs`, class: `fail${part ? " part" : ""}` };
    }
    return { mark: "", name: cell.failing ? "nothing of what matters" : "pass", class: `pass${cell.failing ? " other" : ""}` };
  }

  function visible(row) {
    const wanted = (id, value) => !$(id).value || $(id).value === value;
    return wanted("store", row.store) && wanted("worker", row.worker)
      && ($("variant").value !== "default" || !row.variant) && ($("variant").value !== "tuned" || row.variant)
      && (!$("transactional").checked || row.transactional) && (!$("cancels").checked || row.cancel === "always holds");
  }

  const scenarios = () => ($("group").value ? DATA.groups[$("group").value] : Object.values(DATA.groups).flat());

  function draw() {
    const names = scenarios(), rows = DATA.rows.filter(visible);
    const head = e("tr", {}, e("th", { scope: "col" }, "entrant"), e("th", { scope: "col" }, "scenarios that fail"),
      e("th", { scope: "col" }, "lateness, calm: p50, p99"),
      ...names.map((name) => e("th", { scope: "col", class: "scenario", title: DATA.scenarios[name] }, e("span", {}, name))));
    let before = "";
    const body = rows.map((row) => {
      const looks = names.map((name) => look(row.cells[name]));
      const judged = looks.filter((one) => !["not-applicable", "unknown"].includes(one.class)).length;
      const first = row.entrant !== before;
      before = row.entrant;
      return e("tr", { class: first ? "first" : "" },
        e("th", { scope: "row" }, e("button", { class: "cell", type: "button", onclick: () => tell(row, null) }, row.variant ? `${row.entrant} :${row.variant}` : row.entrant),
          e("br", {}), e("small", {}, `${row.store}, ${row.worker}`)),
        e("td", { class: "number" }, `${looks.filter((one) => one.failing).length} of ${judged}`),
        e("td", { class: "number" }, row.lateness ? `${row.lateness.p50} s, ${row.lateness.p99} s` : "–"),
        ...names.map((name, number) => e("td", {}, cellButton(row, name, looks[number]))));
    });
    $("table").replaceChildren(e("thead", {}, head), e("tbody", {}, ...body));
    $("shown").textContent = `${rows.length} of ${DATA.rows.length} rows, ${names.length} scenarios`;
  }

  function cellButton(row, name, one) {
    const broken = row.cells[name]?.broken ? " broken" : "";
    const label = `${row.design}, ${name}: ${one.name}${broken ? ", breaks its guarantee" : ""}`;
    return e("button", { type: "button", class: `cell ${one.class}${broken}`, "aria-label": label, title: label, onclick: () => tell(row, name) }, one.mark);
  }

  /* Show the runs of a cell, or without a scenario what the entrant is. */
  function tell(row, scenario) {
    const title = e("h2", { id: "detail-title" }, scenario ? `${row.design}, ${scenario}` : row.design);
    $("detail-body").replaceChildren(title, ...(scenario ? runsOf(row, scenario) : factsOf(row)));
    history.replaceState(null, "", `#${encodeURIComponent(row.design)}${scenario ? `/${scenario}` : ""}`);
    if (!$("detail").open) $("detail").showModal();
  }

  function factsOf(row) {
    const facts = { library: e("a", { href: row.home }, row.title), "keeps jobs in": row.store, "workers in": row.worker, "called from": row.callers,
      delivers: row.delivers, "in the caller's transaction": row.transactional ? "yes" : "no", cancel: row.cancel, "another time": row.reschedule, "unique key": row.unique, "back after a kill": row.back };
    return [e("p", {}, `${row.summary}.`), e("table", {}, e("tbody", {}, ...Object.entries(facts).map(([name, value]) => e("tr", {}, e("th", { scope: "row" }, name), e("td", {}, value)))))];
  }

  function runsOf(row, scenario) {
    const cell = row.cells[scenario];
    if (!cell) return [e("p", {}, "It was not run.")];
    if (cell.not_applicable) return [e("p", {}, `Not applicable: ${cell.not_applicable}.`)];
    const reasons = cell.why.map((number) => DATA.reasons[number]);
    return [
      e("p", { class: "faint" }, DATA.scenarios[scenario]),
      e("p", {}, cell.judged ? `Failed runs: ${cell.rate}; the interval is of 95 %.` : "", cell.unknown ? ` ${cell.unknown} unknown.` : "", cell.broken ? " It breaks its guarantee." : ""),
      ...(reasons.length ? [e("h3", {}, "Why"), e("ul", {}, ...reasons.map((reason) => e("li", {}, reason.title, " ", ...reason.sources.flatMap((source) => [source.address ? e("a", { href: source.address }, source.text) : e("code", {}, source.text), " "]), e("a", { href: reason.page }, "more"))))] : []),
      e("h3", {}, "Runs"),
      ...cell.runs.map((run) => e("details", { open: cell.runs.length === 1 },
        e("summary", {}, `seed ${run.seed}: `, e("span", { class: `verdict ${run.outcome}` }, run.outcome), ` ${Object.entries(run.kinds).map(([kind, number]) => `${number} ${words(kind)}${run.long[kind] || ""}`).join(", ")}`),
        e("p", {}, run.story || "No violation."), e("pre", {}, run.command))),
    ];
  }

  /* The address of the page may name a cell: design/scenario. */
  function openAddress() {
    const [design, scenario] = location.hash.slice(1).split("/").map(decodeURIComponent);
    const row = DATA.rows.find((one) => one.design === design);
    if (row) tell(row, scenario && DATA.scenarios[scenario] ? scenario : null);
  }

  $("kinds").append(...DATA.kinds.map((kind) => e("label", {}, e("input", { type: "checkbox", checked: true, value: kind,
    onchange: (event) => { matters[event.target.checked ? "add" : "delete"](kind); draw(); } }), words(kind))));
  $("store").append(option("", "any store"), ...distinct("store").map((value) => option(value)));
  $("worker").append(option("", "any language"), ...distinct("worker").map((value) => option(value)));
  $("group").append(option("", "all"), ...Object.keys(DATA.groups).map((name) => option(name)));
  for (const id of ["store", "worker", "variant", "transactional", "cancels", "group"]) $(id).addEventListener("change", draw);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("detail").addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
  draw();
  openAddress();
  document.body.classList.add("ready");
})();
