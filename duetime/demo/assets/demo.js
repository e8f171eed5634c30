/* The live page. It draws the state that the server streams, and sends commands; the server decides everything. */
"use strict";
(() => {
  const e = Duetime.element, $ = (id) => document.getElementById(id);
  const SECONDS_BEFORE = 30, SECONDS_AFTER = 11, SECONDS_KEPT = 150;
  const COUNTED = ["delivered", "overdue", ...Duetime.VIOLATIONS];
  const NO_UPCOMING = "There is no upcoming event: schedule one.";
  const lanes = new Map();
  let latest = null, receivedAt = 0, error = "", notice = "";
  let shownAt = 0, following = true, playing = true, speed = 1, drawnAt = 0, pauseAt = null, shown = [];

  const picture = new Duetime.Lanes($("lanes"), { live: true, select: (lane, note) => {
    $("story").replaceChildren(Duetime.story(lane, note, () => { $("story").replaceChildren(); picture.clearChoice(); }));
  } });

  async function post(path, body) {
    const response = await fetch(path, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    }).catch(() => null);
    const answer = response ? await response.json().catch(() => ({ error: response.statusText })) : { error: `The demo has ended; start it again with: ${tour.about.program} demo` };
    showMessage(answer.error ?? "", Boolean(answer.error));
    return answer;
  }
  /* What a command does is seen at once: it resumes the picture, at the present. */
  const send = (command, fields = {}) => { showPresent(); return post("/command", { command, ...fields }); };
  function showMessage(text, failed = true) { $("message").textContent = text; $("message").className = failed && text ? "fail" : ""; }

  /* The state, asked for again and again. A hidden page does not ask. */
  const ASK_EVERY_MS = 250, ASK_AGAIN_MS = 1000, GAP_MS = 5000;
  let process = null, askedAt = Date.now(), lostAt = null;

  async function ask() {
    const silentMs = Date.now() - askedAt, wasHidden = document.hidden;
    let wait = ASK_EVERY_MS;
    if (!wasHidden) {
      const query = new URLSearchParams({ run: latest?.run ?? "", since: latest?.check ?? 0 });
      const response = await fetch(`/state?${query}`, { signal: AbortSignal.timeout(10_000) }).catch(() => null);
      if (response?.ok) {
        if (lostAt !== null) showMessage(`Connected again after ${((Date.now() - lostAt) / 1000).toFixed(0)} s. The picture shows the present.`, false);
        else if (silentMs > GAP_MS && latest) showMessage(`This page stood still for ${(silentMs / 1000).toFixed(0)} s. The picture shows the present.`, false);
        lostAt = null;
        if (response.status === 200) receive(await response.json());
      } else {
        lostAt ??= Date.now();
        wait = ASK_AGAIN_MS;
        showMessage(`The demo does not answer; this page asks again every second. If it has ended, start it again: ${tour.about.program} demo`);
      }
    }
    // What was hidden on purpose did not stand still.
    askedAt = Date.now();
    setTimeout(ask, wait);
  }
  document.addEventListener("visibilitychange", () => { askedAt = Date.now(); });

  function receive(state) {
    if (process && process !== state.process) location.reload();
    process = state.process;
    if (state.run !== latest?.run) { lanes.clear(); shown = []; }
    if (state.notice !== notice) { if (state.notice || $("message").textContent === notice) showMessage(state.notice, false); notice = state.notice; }
    if (state.error !== error) { error = state.error; if (error) showMessage(error); }
    // The designs are being started again.
    if (!state.lanes) { latest = null; return; }
    const first = latest === null;
    latest = state;
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
    updateControls();
    listViolations();
    listSaved();
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
    // The picture may be slower than the processes: it pauses when it shows the instant of the result.
    if (playing && pauseAt !== null && shownAt >= pauseAt) play(false, true);
    if (playing && present - shownAt > SECONDS_KEPT - SECONDS_BEFORE) shownAt = present;
    following = playing && speed === 1 && present - shownAt < 1.5;
    $("clock").textContent = present - shownAt > 1.5 ? `${shownAt.toFixed(0)} s, ${(present - shownAt).toFixed(0)} s ago` : `${shownAt.toFixed(0)} s`;
    $("live").disabled = present - shownAt <= 1.5;
    // A paused picture does not change after the records that came late, however long the class explains it.
    if (playing || shown.length !== lanes.size || present - shownAt < SECONDS_BEFORE) shown = [...lanes.values()].map(lanePart);
    else shown = shown.map(({ notes, faults, violations, design }) => ({ ...lanes.get(design), notes, faults, violations }));
    const events = latest.scene?.name === tour.chosen ? latest.scene.events : [], prefixes = events.map((event) => `event-reminder:${event}:`);
    const highlighted = events.length ? (note) => prefixes.some((prefix) => note.key.startsWith(prefix)) : null;
    $("lanes").dataset.highlighted = events.join(" ");
    picture.tallest = laneHeight(shown.length);
    picture.show(shown, { from: shownAt - SECONDS_BEFORE, to: shownAt + SECONDS_AFTER, now: shownAt, head, highlighted });
  }

  /* The lane in the visible time, as it was at its end. */
  const lanePart = (lane) => ({ ...lane, faults: lane.faults.filter((fault) => fault.from <= shownAt),
    notes: [...lane.notes.values()].filter((note) => Duetime.end(note) > shownAt - SECONDS_BEFORE && Duetime.start(note) < shownAt).map((note) => stateAt(note, shownAt)) });

  /* All lanes fit in the window if it is high enough for them. */
  function laneHeight(number) {
    const top = $("lanes").getBoundingClientRect().top + scrollY, axis = 22, heads = [...document.querySelectorAll(".lane > header")];
    const others = axis + heads.reduce((sum, node) => sum + node.offsetHeight, 0) + number * 7;
    return Math.max(72, Math.min(150, Math.floor((innerHeight - top - others) / Math.max(1, number))));
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
    const summary = tour.about.summaries[lane.design] ?? "";
    const role = Duetime.ROLES[lane.design];
    return [e("h3", {}, lane.design, role ? e("span", { class: "role" }, ` ${role}`) : null),
      ...lane.worker_states.map((worker) => {
        const text = `${worker.name} ${worker.state}`, known = worker.node && latest.flower;
        return known ? e("a", { class: "chip", "data-state": worker.state, href: `${latest.flower}/worker/${encodeURIComponent(worker.node)}`, target: "_blank", rel: "noopener", title: "This worker in Flower" }, text)
          : e("span", { class: "chip", "data-state": worker.state }, text);
      }),
      ...COUNTED.filter((label) => label === "delivered" || counts[label]).map((label) =>
        e("span", { class: `count${label === "delivered" ? "" : " bad"}`, "data-count": label }, e("strong", {}, String(counts[label] ?? 0)), ` ${label}`)),
      e("span", { class: "summary faint", title: summary }, summary)];
  }

  function listViolations() {
    const recent = latest.lanes.flatMap((lane) => lane.violations.map((violation) => ({ ...violation, design: lane.design })))
      .sort((a, b) => b.at - a.at).slice(0, 8);
    $("violations").replaceChildren(...(recent.length ? recent.map((violation) => e("li", {}, ...Duetime.explanation(violation, ` in ${violation.design}`))) : [e("li", { class: "faint" }, "None so far.")]));
  }

  /* Saved runs, each with its counts and a link to its report. */
  const savedRuns = (saved) => e("ul", { class: "runs" }, e("li", {}, "Saved:"),
    ...saved.runs.map((run) => e("li", {}, e("a", { href: run.report, target: "_blank", rel: "noopener" }, run.design), ` ${run.outcome}: delivered ${run.counts.delivered} of ${run.owed}`,
      ...Object.entries(run.violations).map(([label, number]) => `, ${number} ${label.replace("_", " ")}`))),
    e("li", {}, e("a", { href: saved.report, target: "_blank", rel: "noopener" }, "the report")), e("li", {}, e("code", {}, saved.directory)));

  function listSaved() {
    const all = latest.saved ?? [], shown = all.map((saved) => saved.report).join();
    if ($("saved").dataset.shown === shown) return;
    $("saved").dataset.shown = shown;
    $("saved-section").hidden = !all.length;
    $("saved").replaceChildren(...all.map(savedRuns));
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
    // Not made again without need: it would take the focus, or a click, from a button.
    const faults = JSON.stringify(latest.active_faults);
    if ($("active-faults").dataset.shown !== faults) {
      $("active-faults").dataset.shown = faults;
      $("active-faults").replaceChildren(...latest.active_faults.map((fault) => e("li", {},
        `${fault.kind.replace("_", " ")}, ${fault.target}: ${fault.phase} `,
        fault.phase === "active" ? e("button", { onclick: () => heal(fault.fault) }, "Heal") : null)));
    }
    $("flower-note").hidden = !latest.flower;
    $("flower").href = latest.flower ? `${latest.flower}/tasks` : "";
    tour.show(latest.scene);
  }

  const tour = new Duetime.Tour({ play: (name) => send("scene", { name }), over: () => { if (playing) pauseAt = now(); }, chose: (name) => {
    const { theme } = document.documentElement.dataset;
    history.replaceState(null, "", `#${new URLSearchParams({ scene: name, speed, ...(theme ? { theme } : {}) })}`);
  } });

  async function save() {
    $("save").disabled = true;
    $("last-saved").replaceChildren(e("span", {}, "Saving: all faults are healed, then every deadline must be over. This takes some seconds …"));
    const saved = await post("/save", {});
    $("save").disabled = false;
    $("last-saved").replaceChildren(...(saved.runs ? [savedRuns(saved)] : []));
  }

  /* byItself: at the result of a scene, so that its lines stay in the picture while the class explains them. */
  function play(on, byItself = false) {
    playing = on;
    pauseAt = null;
    $("paused").hidden = !byItself;
    $("play").textContent = on ? "Pause" : "Play";
    $("play").setAttribute("aria-pressed", String(on));
  }

  function showPresent() {
    shownAt = now();
    following = true;
    play(true);
  }

  /* Drawn with the colours of the theme, so again after a change of the theme. */
  function showLegend() {
    $("legend").replaceChildren(Duetime.legend(["on_time", "excused", "overdue", ...Duetime.VIOLATIONS.filter((label) => label !== "will_repeat")], { overdue: "overdue" }));
  }

  function toggleTheme() {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches, root = document.documentElement.dataset;
    root.theme = (root.theme ?? (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
    showLegend();
    tour.choose(tour.chosen);
  }

  const keys = { n: () => tour.step(1), p: () => tour.step(-1), k: actions.kill, d: actions["kill-all"], u: actions["heal-all"], a: actions.add,
    r: actions.remove, s: actions.schedule, m: actions.move, c: actions.cancel, b: actions.broker, "?": () => $("keys").showModal() };

  /* Space is the picture's key wherever the focus is: on a button that has the focus it would inject a fault that nobody
     predicted. Enter presses a button. Firefox presses it at the end of the key press. */
  const isText = (node) => ["INPUT", "TEXTAREA"].includes(node.tagName);
  document.addEventListener("keyup", (event) => { if (event.key === " " && !isText(event.target)) event.preventDefault(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isText(event.target)) return;
    if (event.key === " ") {
      event.preventDefault();
      if (!event.repeat) play(!playing);
      return;
    }
    if (event.repeat || event.target.tagName === "SELECT" || $("keys").open || !latest) return;
    const action = keys[event.key.toLowerCase()];
    if (action) { event.preventDefault(); action(); }
  });
  for (const button of document.querySelectorAll("[data-action]")) button.addEventListener("click", () => { if (latest) actions[button.dataset.action](); });
  $("play").addEventListener("click", () => play(!playing));
  $("speed").addEventListener("change", () => { speed = +$("speed").value; tour.choose(tour.chosen); });
  $("live").addEventListener("click", () => { speed = 1; $("speed").value = "1"; showPresent(); });
  $("rate").addEventListener("change", () => send("traffic", { per_second: +$("rate").value }));
  $("save").addEventListener("click", save);
  $("theme").addEventListener("click", toggleTheme);
  $("help").addEventListener("click", () => $("keys").showModal());

  async function start() {
    tour.fill(await (await fetch("/about")).json());
    const state = new URLSearchParams(location.hash.slice(1));
    if (state.get("theme")) document.documentElement.dataset.theme = state.get("theme");
    if (["0.25", "0.5"].includes(state.get("speed"))) { speed = +state.get("speed"); $("speed").value = state.get("speed"); }
    showLegend();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showLegend);
    tour.choose(state.get("scene"));
    ask();
    requestAnimationFrame(draw);
  }
  start();
})();
