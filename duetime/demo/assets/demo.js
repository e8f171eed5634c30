/* The live page: what the server tells is drawn, what the viewer wants is asked of the server, which alone decides. */
"use strict";
(() => {
  const e = Duetime.element, $ = (id) => document.getElementById(id);
  const BEHIND = 34, AHEAD = 10, KEPT = 150;
  const COUNTED = ["delivered", "overdue", "missed", "duplicate", "late", "early", "phantom", "stale"];
  const lanes = new Map();
  let about = { scenes: [], designs: [] }, latest = null, arrived = 0, at = 0, following = true, playing = true, speed = 1, drawnAt = 0, chosen = "arrive", broken = "";
  const done = new Set();

  const picture = new Duetime.Lanes($("lanes"), { live: true, tallest: 138, select: (lane, note) => {
    $("story").replaceChildren(Duetime.story(lane, note, () => { $("story").replaceChildren(); picture.forget(); }));
  } });

  async function ask(command) {
    const answer = await fetch(command ? "/command" : "/save", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(command ?? {}),
    }).catch(() => null);
    const body = answer ? await answer.json().catch(() => ({ error: answer.statusText })) : { error: "the demo has ended; start it again with: duetime demo" };
    say(body.error ?? "");
    return body;
  }
  const say = (words) => { $("word").textContent = words; };

  /* What the stream tells */
  function hear(event) {
    const first = latest === null;
    latest = JSON.parse(event.data);
    if (first) at = latest.now;
    arrived = performance.now();
    for (const lane of latest.lanes) {
      const known = (!lane.anew && lanes.get(lane.design)) || { notes: new Map(), said: new Map() };
      for (const key of lane.gone) known.notes.delete(key);
      for (const note of lane.notes) known.notes.set(note.key, note);
      for (const one of lane.violations) known.said.set(`${one.label} ${one.op} ${one.at}`, one);
      for (const [name, one] of known.said) if (one.at < latest.now - KEPT) known.said.delete(name);
      lanes.set(lane.design, { ...lane, notes: known.notes, said: known.said, recent: lane.violations, violations: [...known.said.values()] });
    }
    if (latest.broken !== broken) { broken = latest.broken; if (broken) say(broken); }
    controls();
    violations();
  }

  const now = () => (latest ? latest.now + (performance.now() - arrived) / 1000 : 0);

  /* One picture: what was known at the instant that is shown, which may be a while ago. */
  function draw(time) {
    requestAnimationFrame(draw);
    const rest = Duetime.calm() ? 500 : 60;
    if (!latest || time - drawnAt < rest) return;
    const passed = (time - drawnAt) / 1000, live = now();
    drawnAt = time;
    // The present, however long nothing was drawn (a hidden tab, a busy machine), unless the viewer went back.
    if (playing) at = following ? live : Math.min(live, at + passed * speed);
    if (live - at > KEPT - BEHIND) at = live;
    following = playing && speed === 1 && live - at < 1.5;
    $("clock").textContent = live - at > 1.5 ? `${at.toFixed(0)} s, ${(live - at).toFixed(0)} s ago` : `${at.toFixed(0)} s`;
    $("live").disabled = live - at <= 1.5;
    const shown = [...lanes.values()].map((lane) => ({ ...lane, faults: lane.faults.filter((fault) => fault.from <= at), notes: [...lane.notes.values()].filter((note) =>
      Duetime.finishes(note) > at - BEHIND && Duetime.begins(note) < at).map((note) => until(note, at)) }));
    picture.show(shown, { from: at - BEHIND, to: at + AHEAD, now: at, head });
  }

  /* A notification as it stood at that instant. */
  function until(note, instant) {
    if (instant > latest.now - 1.5) return note;
    return { key: note.key, revs: note.revs.filter((rev) => (rev.asked ?? rev.got[0][0]) <= instant).map((rev) => ({
      ...rev, got: rev.got?.filter((got) => got[0] <= instant),
      state: ["missed", "overdue"].includes(rev.state) && (rev.deadline ?? Infinity) > instant ? "open" : rev.state })) };
  }

  function head(lane) {
    const { counts } = lane;
    return [e("h3", {}, lane.design),
      ...lane.worker_states.map((worker) => e("span", { class: "chip", "data-state": worker.state }, `${worker.name} ${worker.state}`)),
      ...COUNTED.filter((name) => name === "delivered" || counts[name]).map((name) =>
        e("span", { class: `count${name === "delivered" ? "" : " bad"}`, "data-count": name }, e("strong", {}, String(counts[name] ?? 0)), ` ${name}`))];
  }

  function violations() {
    const recent = latest.lanes.flatMap((lane) => lane.violations.map((one) => ({ ...one, design: lane.design })))
      .sort((a, b) => b.at - a.at).slice(0, 8);
    $("violations").replaceChildren(...(recent.length ? recent.map((one) => e("li", {}, e("strong", {}, `${one.label} `),
      `${one.design}: ${one.text}`)) : [e("li", { class: "faint" }, "None so far.")]));
  }

  /* What the viewer can do now */
  const lasting = (kind, target) => latest.doing.find((one) => one.kind === kind && one.phase === "lasts" && (!target || one.target === target));
  const next = () => latest.upcoming.find(([due]) => due > now() + 1);
  const deeds = {
    schedule: () => ask({ what: "schedule", in_s: 5, people: 1 }),
    gather: () => ask({ what: "schedule", in_s: 5, people: 12 }),
    move: () => { const event = next(); return event ? ask({ what: "move", event: event[1], by_s: 4 }) : say("No event is ahead of us: schedule one."); },
    cancel: () => { const event = next(); return event ? ask({ what: "cancel", event: event[1] }) : say("No event is ahead of us: schedule one."); },
    kill: () => ask({ what: "do", kind: "kill", target: "delivering" }),
    "kill-all": () => ask({ what: "do", kind: "kill", target: "all" }),
    up: () => ask({ what: "undo_all" }),
    pause: () => { const on = lasting("pause"); return ask(on ? { what: "undo", fault: on.fault } : { what: "do", kind: "pause", target: "server-1" }); },
    deploy: () => ask({ what: "do", kind: "deploy", target: "all" }),
    add: () => ask({ what: "do", kind: "worker_added", target: latest.next_worker }),
    remove: () => { const on = lasting("worker_added"); return on ? ask({ what: "undo", fault: on.fault }) : say("No server was added."); },
    broker: () => restart("broker"), database: () => restart("database"),
  };
  async function restart(service) {
    const begun = await ask({ what: "do", kind: `${service}_kill`, target: service });
    if (begun.done) await ask({ what: "undo", fault: begun.done });
  }

  function controls() {
    if (document.activeElement !== $("rate") && ![...$("rate").options].some((one) => +one.value === latest.a_second)) $("rate").add(new Option(latest.a_second));
    if (document.activeElement !== $("rate")) $("rate").value = String(latest.a_second);
    const paused = lasting("pause"), on = (name) => document.querySelector(`[data-do="${name}"]`);
    on("pause").textContent = paused ? "Let server-1 go on" : "Stop server-1";
    on("remove").disabled = !lasting("worker_added");
    on("up").disabled = !latest.doing.some((one) => one.phase === "lasts");
    $("doing").replaceChildren(...latest.doing.map((one) => e("li", {},
      { begins: "Beginning: ", lasts: "", ends: "Mending: " }[one.phase] + `${one.kind.replace("_", " ")}, ${one.target} `,
      one.phase === "lasts" ? e("button", { onclick: () => ask({ what: "undo", fault: one.fault }) }, "Undo") : null)));
    scene();
  }

  /* The tour */
  const current = () => about.scenes.find((one) => one.name === chosen);
  function choose(name) {
    chosen = name;
    history.replaceState(null, "", `#${new URLSearchParams({ scene: name, speed, ...(document.documentElement.dataset.theme ? { theme: document.documentElement.dataset.theme } : {}) })}`);
    $("scene").hidden = name === "playground";
    $("playground").hidden = name !== "playground";
    for (const button of $("scenes").querySelectorAll("button")) {
      button.setAttribute("aria-current", String(button.dataset.scene === name));
      button.classList.toggle("done", done.has(button.dataset.scene));
    }
    const one = current();
    if (!one) return;
    $("scene-title").textContent = one.title; $("scene-what").textContent = one.what; $("scene-goal").textContent = one.goal;
    $("outcome").dataset.shown = "";
    if (latest) scene(); else $("outcome").replaceChildren();
  }

  function scene() {
    const one = current(), on = latest.scene;
    if (!one) return;
    const busy = on !== null && on.phase !== "over";
    $("begin").disabled = busy;
    $("begin").textContent = busy && on.name === chosen ? { playing: "Watch …", waiting: "Waiting until all is certain …" }[on.phase] : one.button;
    const mine = on !== null && on.name === chosen ? JSON.stringify(on) : "";
    if ($("outcome").dataset.shown === mine) return;
    $("outcome").dataset.shown = mine;
    $("outcome").replaceChildren(...(mine ? outcome(one, on) : []));
    if (mine && on.phase === "over" && !on.error && !done.has(chosen)) { done.add(chosen); choose(chosen); }
  }

  function outcome(one, on) {
    if (on.error) return [e("p", { class: "fail" }, on.error)];
    const labels = ["delivered", ...["overdue", ...Duetime.VIOLATIONS].filter((label) => on.outcome.some((design) => design[label]))];
    const table = e("table", {}, e("thead", {}, e("tr", {}, e("th", {}, "of this scene's"), ...labels.map((label) => e("th", { scope: "col" }, label)))),
      e("tbody", {}, ...on.outcome.map((design) => e("tr", {}, e("th", { scope: "row" }, design.design), ...labels.map((label) => e("td", { class: label !== "delivered" && design[label] ? "fail" : "" }, ` ${design[label] ?? 0}`))))));
    return on.phase !== "over" ? [table] : [table, e("p", {}, one.lesson), e("p", {}, e("strong", {}, "The clause: "), one.clause),
      e("p", {}, e("strong", {}, "Again, without a viewer: "), e("code", {}, `duetime compare --scenarios ${one.again}`)),
      e("p", {}, e("button", { onclick: () => step(1) }, "Next scene"))];
  }

  function step(by) {
    const names = [...about.scenes.map((one) => one.name), "playground"];
    choose(names[Math.max(0, Math.min(names.length - 1, names.indexOf(chosen) + by))]);
    if (by > 0) ($("begin").disabled || $("scene").hidden ? $("playground").querySelector("button") : $("begin"))?.focus();
  }

  async function save() {
    $("save").disabled = true;
    say("Saving: mending everything, and waiting until all that is owed can have come. That takes until a little after the last of them is due …");
    const kept = await ask(null);
    $("save").disabled = false;
    if (kept.runs) $("word").textContent = `Saved in ${kept.directory}: ${kept.runs.map((run) => `${run.design} ${run.outcome}`).join(", ")}. The page about it: ${kept.report}`;
  }

  function play(on) {
    playing = on;
    $("play").textContent = on ? "Pause" : "Play";
    $("play").setAttribute("aria-pressed", String(on));
  }

  function theme() {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches, root = document.documentElement.dataset;
    root.theme = (root.theme ?? (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
    choose(chosen);
  }

  const keys = { " ": () => play(!playing), n: () => step(1), p: () => step(-1), k: deeds.kill, d: deeds["kill-all"], u: deeds.up, a: deeds.add,
    r: deeds.remove, s: deeds.schedule, m: deeds.move, c: deeds.cancel, b: deeds.broker, "?": () => $("keys").showModal() };
  document.addEventListener("keydown", (event) => {
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName), pressing = event.key === " " && event.target.tagName === "BUTTON";
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || typing || pressing || $("keys").open || !latest) return;
    const deed = keys[event.key.toLowerCase()];
    if (deed) { event.preventDefault(); deed(); }
  });
  for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => deeds[button.dataset.do]());
  $("play").addEventListener("click", () => play(!playing));
  $("speed").addEventListener("change", () => { speed = +$("speed").value; choose(chosen); });
  $("live").addEventListener("click", () => { at = now(); following = true; speed = 1; $("speed").value = "1"; play(true); });
  $("rate").addEventListener("change", () => ask({ what: "traffic", a_second: +$("rate").value }));
  $("save").addEventListener("click", save);
  $("theme").addEventListener("click", theme);
  $("help").addEventListener("click", () => $("keys").showModal());
  $("begin").addEventListener("click", () => { done.delete(chosen); ask({ what: "scene", name: chosen }); });

  async function begin() {
    about = await (await fetch("/about")).json();
    $("scenes").replaceChildren(...[...about.scenes, { name: "playground", title: "Playground" }].map((one) =>
      e("li", {}, e("button", { type: "button", "data-scene": one.name, onclick: () => choose(one.name) }, one.title))));
    if (about.flower) { $("flower").href = about.flower; $("flower").hidden = false; }
    const state = new URLSearchParams(location.hash.slice(1));
    if (state.get("theme")) document.documentElement.dataset.theme = state.get("theme");
    if (["0.25", "0.5"].includes(state.get("speed"))) { speed = +state.get("speed"); $("speed").value = state.get("speed"); }
    $("legend").replaceChildren(Duetime.legend(["on_time", "excused", "overdue", ...Duetime.VIOLATIONS]));
    choose([...about.scenes.map((one) => one.name), "playground"].includes(state.get("scene")) ? state.get("scene") : "arrive");
    const stream = new EventSource("/stream");
    stream.onmessage = (event) => { if ($("word").dataset.lost) { delete $("word").dataset.lost; say(""); } hear(event); };
    // A stream that was cut begins anew, with everything.
    stream.onerror = () => { lanes.clear(); $("word").dataset.lost = "1"; say("The demo does not answer. If it has ended, start it again: duetime demo"); };
    requestAnimationFrame(draw);
  }
  begin();
})();
