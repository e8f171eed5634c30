/* The live page. It draws the state that the server streams, and sends commands; the server decides everything. */
"use strict";
(() => {
  const e = Duetime.element, $ = (id) => document.getElementById(id);
  const SECONDS_BEFORE = 34, SECONDS_AFTER = 10, SECONDS_KEPT = 150;
  const COUNTED = ["delivered", "overdue", ...Duetime.VIOLATIONS];
  const NO_UPCOMING = "There is no upcoming event: schedule one.";
  const lanes = new Map();
  let about = { scenes: [], designs: [], program: "duetime" }, latest = null, receivedAt = 0, error = "";
  let shownAt = 0, following = true, playing = true, speed = 1, drawnAt = 0, chosen = "arrive";
  const done = new Set();

  const picture = new Duetime.Lanes($("lanes"), { live: true, tallest: 138, select: (lane, note) => {
    $("story").replaceChildren(Duetime.story(lane, note, () => { $("story").replaceChildren(); picture.clearChoice(); }));
  } });

  async function post(path, body) {
    const response = await fetch(path, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    }).catch(() => null);
    const answer = response ? await response.json().catch(() => ({ error: response.statusText })) : { error: `The demo has ended; start it again with: ${about.program} demo` };
    showMessage(answer.error ?? "");
    return answer;
  }
  const send = (command, fields = {}) => post("/command", { command, ...fields });
  const showMessage = (text) => { $("message").textContent = text; };

  /* The stream */
  function receive(event) {
    const first = latest === null;
    latest = JSON.parse(event.data);
    if (first) shownAt = latest.now;
    receivedAt = performance.now();
    for (const lane of latest.lanes) {
      const known = (!lane.everything && lanes.get(lane.design)) || { notes: new Map(), violationsByName: new Map() };
      for (const key of lane.removed) known.notes.delete(key);
      for (const note of lane.notes) known.notes.set(note.key, note);
      for (const violation of lane.violations) known.violationsByName.set(`${violation.label} ${violation.op} ${violation.at}`, violation);
      for (const [name, violation] of known.violationsByName) if (violation.at < latest.now - SECONDS_KEPT) known.violationsByName.delete(name);
      lanes.set(lane.design, { ...lane, notes: known.notes, violationsByName: known.violationsByName, violations: [...known.violationsByName.values()] });
    }
    if (latest.error !== error) { error = latest.error; if (error) showMessage(error); }
    updateControls();
    listViolations();
  }

  const now = () => (latest ? latest.now + (performance.now() - receivedAt) / 1000 : 0);

  /* Draw the state at the instant `shownAt`, which may be in the past. */
  function draw(time) {
    requestAnimationFrame(draw);
    const interval = Duetime.reducedMotion() ? 500 : 60;
    if (!latest || time - drawnAt < interval) return;
    const passed = (time - drawnAt) / 1000, present = now();
    drawnAt = time;
    // After a gap in drawing (a hidden tab, a busy machine) show the present, unless the viewer went back in time.
    if (playing) shownAt = following ? present : Math.min(present, shownAt + passed * speed);
    if (present - shownAt > SECONDS_KEPT - SECONDS_BEFORE) shownAt = present;
    following = playing && speed === 1 && present - shownAt < 1.5;
    $("clock").textContent = present - shownAt > 1.5 ? `${shownAt.toFixed(0)} s, ${(present - shownAt).toFixed(0)} s ago` : `${shownAt.toFixed(0)} s`;
    $("live").disabled = present - shownAt <= 1.5;
    const shown = [...lanes.values()].map((lane) => ({ ...lane, faults: lane.faults.filter((fault) => fault.from <= shownAt), notes: [...lane.notes.values()].filter((note) =>
      Duetime.end(note) > shownAt - SECONDS_BEFORE && Duetime.start(note) < shownAt).map((note) => stateAt(note, shownAt)) }));
    picture.show(shown, { from: shownAt - SECONDS_BEFORE, to: shownAt + SECONDS_AFTER, now: shownAt, head });
  }

  /* A notification as it was at `instant`. */
  function stateAt(note, instant) {
    if (instant > latest.now - 1.5) return note;
    return { key: note.key, revs: note.revs.filter((rev) => (rev.invoked ?? rev.deliveries[0][0]) <= instant).map((rev) => ({
      ...rev, deliveries: rev.deliveries?.filter((delivery) => delivery[0] <= instant),
      state: ["missed", "overdue"].includes(rev.state) && (rev.deadline ?? Infinity) > instant ? "open" : rev.state })) };
  }

  function head(lane) {
    const { counts } = lane;
    return [e("h3", {}, lane.design),
      ...lane.worker_states.map((worker) => e("span", { class: "chip", "data-state": worker.state }, `${worker.name} ${worker.state}`)),
      ...COUNTED.filter((label) => label === "delivered" || counts[label]).map((label) =>
        e("span", { class: `count${label === "delivered" ? "" : " bad"}`, "data-count": label }, e("strong", {}, String(counts[label] ?? 0)), ` ${label}`))];
  }

  function listViolations() {
    const recent = latest.lanes.flatMap((lane) => lane.violations.map((violation) => ({ ...violation, design: lane.design })))
      .sort((a, b) => b.at - a.at).slice(0, 8);
    $("violations").replaceChildren(...(recent.length ? recent.map((violation) => e("li", {}, ...Duetime.explanation(violation, ` in ${violation.design}`))) : [e("li", { class: "faint" }, "None so far.")]));
  }

  /* Actions */
  const activeFault = (kind) => latest.active_faults.find((fault) => fault.kind === kind && fault.phase === "active");
  function withUpcoming(action) {
    const upcoming = latest.upcoming.find(([due]) => due > now() + 1);
    return upcoming ? action(upcoming[1]) : showMessage(NO_UPCOMING);
  }
  const inject = (kind, target) => send("inject", { kind, target }), heal = (fault) => send("heal", { fault });
  async function restart(service) {
    const injected = await inject(`${service}_kill`, service);
    if (injected.done) await heal(injected.done);
  }
  const actions = {
    schedule: () => send("schedule", { in_s: 5, people: 1 }),
    "schedule-many": () => send("schedule", { in_s: 5, people: 12 }),
    move: () => withUpcoming((event) => send("move", { event, by_s: 4 })),
    cancel: () => withUpcoming((event) => send("cancel", { event })),
    kill: () => inject("kill", "delivering"),
    "kill-all": () => inject("kill", "all"),
    "heal-all": () => send("heal_all"),
    pause: () => { const paused = activeFault("pause"); return paused ? heal(paused.fault) : inject("pause", "worker-1"); },
    deploy: () => inject("deploy", "all"),
    add: () => inject("worker_added", latest.next_worker),
    remove: () => { const added = activeFault("worker_added"); return added ? heal(added.fault) : showMessage("No worker was added."); },
    broker: () => restart("broker"), database: () => restart("database"),
  };

  function updateControls() {
    const rate = $("rate"), button = (name) => document.querySelector(`[data-action="${name}"]`);
    if (document.activeElement !== rate) {
      if (![...rate.options].some((option) => +option.value === latest.per_second)) rate.add(new Option(latest.per_second));
      rate.value = String(latest.per_second);
    }
    button("pause").textContent = activeFault("pause") ? "Resume worker-1" : "Pause worker-1";
    button("remove").disabled = !activeFault("worker_added");
    button("heal-all").disabled = !latest.active_faults.some((fault) => fault.phase === "active");
    $("active-faults").replaceChildren(...latest.active_faults.map((fault) => e("li", {},
      `${fault.kind.replace("_", " ")}, ${fault.target}: ${fault.phase} `,
      fault.phase === "active" ? e("button", { onclick: () => heal(fault.fault) }, "Heal") : null)));
    updateScene();
  }

  /* The tour */
  const currentScene = () => about.scenes.find((scene) => scene.name === chosen);
  function choose(name) {
    chosen = name;
    history.replaceState(null, "", `#${new URLSearchParams({ scene: name, speed, ...(document.documentElement.dataset.theme ? { theme: document.documentElement.dataset.theme } : {}) })}`);
    $("scene").hidden = name === "playground";
    $("playground").hidden = name !== "playground";
    for (const button of $("scenes").querySelectorAll("button")) {
      button.setAttribute("aria-current", String(button.dataset.scene === name));
      button.classList.toggle("done", done.has(button.dataset.scene));
    }
    const scene = currentScene();
    if (!scene) return;
    $("scene-title").textContent = scene.title; $("scene-what").textContent = scene.what; $("scene-goal").textContent = scene.goal;
    $("outcome").dataset.shown = "";
    if (latest) updateScene(); else $("outcome").replaceChildren();
  }

  function updateScene() {
    const scene = currentScene(), played = latest.scene;
    if (!scene) return;
    const isChosen = played !== null && played.name === chosen, busy = played !== null && played.phase !== "over";
    $("begin").disabled = busy;
    $("begin").textContent = busy && isChosen ? { playing: "Playing …", waiting: "Waiting for final results …" }[played.phase] : scene.button;
    const state = isChosen ? JSON.stringify(played) : "";
    if ($("outcome").dataset.shown === state) return;
    $("outcome").dataset.shown = state;
    $("outcome").replaceChildren(...(state ? outcome(scene, played) : []));
    if (state && played.phase === "over" && !played.error && !done.has(chosen)) { done.add(chosen); choose(chosen); }
  }

  function outcome(scene, played) {
    if (played.error) return [e("p", { class: "fail" }, played.error)];
    const labels = ["delivered", ...["overdue", ...Duetime.VIOLATIONS].filter((label) => played.outcome.some((design) => design[label]))];
    const table = e("table", {}, e("thead", {}, e("tr", {}, e("th", {}, "in this scene"), ...labels.map((label) => e("th", { scope: "col" }, label)))),
      e("tbody", {}, ...played.outcome.map((design) => e("tr", {}, e("th", { scope: "row" }, design.design), ...labels.map((label) => e("td", { class: label !== "delivered" && design[label] ? "fail" : "" }, ` ${design[label] ?? 0}`))))));
    return played.phase !== "over" ? [table] : [table, e("p", {}, scene.lesson), e("p", {}, e("strong", {}, "The rule: "), scene.clause),
      e("p", {}, e("strong", {}, "The same fault in a run: "), e("code", {}, `${about.program} compare --scenarios ${scene.scenario}`)),
      e("p", {}, e("button", { onclick: () => step(1) }, "Next scene"))];
  }

  function step(by) {
    const names = [...about.scenes.map((scene) => scene.name), "playground"];
    choose(names[Math.max(0, Math.min(names.length - 1, names.indexOf(chosen) + by))]);
    if (by > 0) ($("begin").disabled || $("scene").hidden ? $("playground").querySelector("button") : $("begin"))?.focus();
  }

  async function save() {
    $("save").disabled = true;
    showMessage("Saving: healing all faults, then waiting until every deadline is over. This takes some seconds after the last due time …");
    const saved = await post("/save", {});
    $("save").disabled = false;
    if (saved.runs) showMessage(`Saved in ${saved.directory}: ${saved.runs.map((run) => `${run.design} ${run.outcome}`).join(", ")}. The report: ${saved.report}`);
  }

  function play(on) {
    playing = on;
    $("play").textContent = on ? "Pause" : "Play";
    $("play").setAttribute("aria-pressed", String(on));
  }

  function toggleTheme() {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches, root = document.documentElement.dataset;
    root.theme = (root.theme ?? (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
    choose(chosen);
  }

  const keys = { " ": () => play(!playing), n: () => step(1), p: () => step(-1), k: actions.kill, d: actions["kill-all"], u: actions["heal-all"], a: actions.add,
    r: actions.remove, s: actions.schedule, m: actions.move, c: actions.cancel, b: actions.broker, "?": () => $("keys").showModal() };
  document.addEventListener("keydown", (event) => {
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName), pressing = event.key === " " && event.target.tagName === "BUTTON";
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || typing || pressing || $("keys").open || !latest) return;
    const action = keys[event.key.toLowerCase()];
    if (action) { event.preventDefault(); action(); }
  });
  for (const button of document.querySelectorAll("[data-action]")) button.addEventListener("click", () => actions[button.dataset.action]());
  $("play").addEventListener("click", () => play(!playing));
  $("speed").addEventListener("change", () => { speed = +$("speed").value; choose(chosen); });
  $("live").addEventListener("click", () => { shownAt = now(); following = true; speed = 1; $("speed").value = "1"; play(true); });
  $("rate").addEventListener("change", () => send("traffic", { per_second: +$("rate").value }));
  $("save").addEventListener("click", save);
  $("theme").addEventListener("click", toggleTheme);
  $("help").addEventListener("click", () => $("keys").showModal());
  $("begin").addEventListener("click", () => { done.delete(chosen); send("scene", { name: chosen }); });

  async function start() {
    about = await (await fetch("/about")).json();
    $("scenes").replaceChildren(...[...about.scenes, { name: "playground", title: "Playground" }].map((scene) =>
      e("li", {}, e("button", { type: "button", "data-scene": scene.name, onclick: () => choose(scene.name) }, scene.title))));
    if (about.flower) { $("flower").href = about.flower; $("flower").hidden = false; }
    const state = new URLSearchParams(location.hash.slice(1));
    if (state.get("theme")) document.documentElement.dataset.theme = state.get("theme");
    if (["0.25", "0.5"].includes(state.get("speed"))) { speed = +state.get("speed"); $("speed").value = state.get("speed"); }
    $("legend").replaceChildren(Duetime.legend(["on_time", "excused", "overdue", ...Duetime.VIOLATIONS.filter((label) => label !== "will_repeat")]));
    choose([...about.scenes.map((scene) => scene.name), "playground"].includes(state.get("scene")) ? state.get("scene") : "arrive");
    const stream = new EventSource("/stream");
    stream.onmessage = (event) => { if ($("message").dataset.lost) { delete $("message").dataset.lost; showMessage(""); } receive(event); };
    // After a reconnect the stream sends everything again.
    stream.onerror = () => { lanes.clear(); $("message").dataset.lost = "1"; showMessage(`The demo does not answer. If it has ended, start it again: ${about.program} demo`); };
    requestAnimationFrame(draw);
  }
  start();
})();
