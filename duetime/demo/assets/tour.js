/* The scenes: what happens, a prediction, and then what was measured. The server plays them and writes the results. */
"use strict";

Duetime.QUESTIONS = {
  missed: "Who will miss?", duplicate: "Who will deliver twice?",
  phantom: "Who will deliver after the cancel?", stale: "Who will deliver at the old time?",
};

/* How the class and the texts call the designs. */
Duetime.ROLES = { pull_worker: "the poller", oban_style_queue: "the queue", push_readmodel: "the read model" };

/* The type of the other texts on a projector. */
Duetime.SMALLEST_PX = 15;

Duetime.Tour = class Tour {
  /* about: the scenes and designs. play(name): starts a scene. over(): called when the result of the shown
     scene appears. chose(name): called when another scene is shown. */
  constructor({ play, over, chose }) {
    Object.assign(this, { play, over, chose, about: { scenes: [], designs: [], program: "duetime" }, chosen: "arrive", state: null });
    this.done = new Set();
    this.predicted = new Map();
    /* As it was when the scene began. */
    this.fixed = new Map();
    this.at = (id) => document.getElementById(id);
    this.at("begin").addEventListener("click", () => this.begin());
    this.at("next").addEventListener("click", () => this.step(1));
    addEventListener("resize", () => this.fit());
  }

  get names() { return [...this.about.scenes.map((scene) => scene.name), "playground"]; }
  get scene() { return this.about.scenes.find((scene) => scene.name === this.chosen); }

  fill(about) {
    const e = Duetime.element;
    this.about = about;
    this.at("scenes").replaceChildren(...[...about.scenes, { name: "playground", title: "Playground" }].map((scene) =>
      e("li", {}, e("button", { type: "button", "data-scene": scene.name, onclick: () => this.choose(scene.name) }, scene.title))));
  }

  begin() {
    this.done.delete(this.chosen);
    this.fixed.set(this.chosen, new Map([...this.predictions()].map(([label, designs]) => [label, new Set(designs)])));
    this.play(this.chosen);
  }

  step(by) {
    const names = this.names;
    this.choose(names[Math.max(0, Math.min(names.length - 1, names.indexOf(this.chosen) + by))]);
    if (by > 0) (this.scene ? this.at("begin") : this.at("playground").querySelector("button")).focus();
  }

  choose(name) {
    this.chosen = this.names.includes(name) ? name : "arrive";
    this.at("scene").hidden = !this.scene;
    this.at("playground").hidden = Boolean(this.scene);
    this.markTabs();
    if (this.scene) {
      this.at("scene-title").textContent = this.scene.title;
      this.at("scene-what").textContent = this.scene.what;
      this.at("in-a-run").replaceChildren("The same in a run: ", Duetime.element("code", {}, `${this.about.program} compare --scenarios ${this.scene.scenario}`));
      this.at("outcome").dataset.shown = "";
      this.showPredictions();
      this.show(this.state);
    }
    this.chose(this.chosen);
  }

  markTabs() {
    for (const button of this.at("scenes").querySelectorAll("button")) {
      button.setAttribute("aria-current", String(button.dataset.scene === this.chosen));
      button.classList.toggle("done", this.done.has(button.dataset.scene));
    }
  }

  /* Predictions: by label, the set of designs; "none" is the empty set, and no entry is no prediction. */
  predictions() {
    if (!this.predicted.has(this.chosen)) this.predicted.set(this.chosen, new Map());
    return this.predicted.get(this.chosen);
  }

  showPredictions() {
    const e = Duetime.element, predicted = this.predictions();
    this.at("predictions").replaceChildren(...this.scene.asks.map((label) => {
      const said = predicted.get(label);
      const toggle = (text, pressed, change) => e("button", { type: "button", "aria-pressed": String(Boolean(pressed)), onclick: (event) => {
        change();
        const position = [...event.currentTarget.parentElement.children].indexOf(event.currentTarget);
        this.showPredictions();
        this.at("predictions").querySelector(`[data-label="${label}"]`).children[position].focus();
      } }, text);
      return e("fieldset", { class: "prediction", "data-label": label }, e("legend", {}, Duetime.QUESTIONS[label], e("span", { class: "faint" }, " (choose all that apply)")),
        ...this.about.designs.map((design) => toggle(design, said?.has(design), () => {
          const designs = new Set(said);
          if (!designs.delete(design)) designs.add(design);
          if (designs.size) predicted.set(label, designs); else predicted.delete(label);
        })), toggle("none", said?.size === 0, () => { if (said?.size === 0) predicted.delete(label); else predicted.set(label, new Set()); }));
    }));
  }

  /* state: of the scene that was started last, or null. */
  show(state) {
    const wasPlayed = this.state?.name === this.chosen && this.state.phase !== "over";
    this.state = state;
    if (!this.scene) return;
    const isChosen = state?.name === this.chosen, busy = Boolean(state) && state.phase !== "over", begin = this.at("begin");
    begin.disabled = busy;
    begin.textContent = busy && isChosen ? { playing: "Playing …", waiting: "Waiting for the last deadline …" }[state.phase] : this.scene.button;
    for (const button of this.at("predictions").querySelectorAll("button")) button.disabled = busy && isChosen;
    const shown = isChosen ? JSON.stringify(busy ? state.phase : state) : "none";
    if (this.at("outcome").dataset.shown === shown) return;
    this.at("scene").classList.toggle("revealed", isChosen && !busy && !state.error);
    this.at("scene").querySelector("div").scrollTop = 0;
    this.at("outcome").dataset.shown = shown;
    this.at("outcome").replaceChildren(...(!isChosen ? this.invitation() : busy ? this.meanwhile() : this.outcome(state)));
    this.fit();
    if (isChosen && !busy && !state.error) {
      this.done.add(this.chosen);
      this.markTabs();
      if (wasPlayed) this.over();
    }
  }

  /* A class reads the whole result without scrolling: a long one is in smaller type. */
  fit() {
    const text = this.at("outcome");
    text.style.fontSize = "";
    for (let size = parseFloat(getComputedStyle(text).fontSize); size > Duetime.SMALLEST_PX && text.scrollHeight > text.clientHeight; size -= 1) text.style.fontSize = `${size - 1}px`;
  }

  invitation() {
    const e = Duetime.element;
    return [e("p", { class: "faint" }, "Say what you expect, then press the blue button. What was measured is shown here.")];
  }

  meanwhile() {
    const e = Duetime.element, said = this.fixed.get(this.chosen);
    return [e("p", {}, "Watch the highlighted lines below: they belong to this scene."),
      ...this.scene.asks.filter((label) => said?.has(label)).map((label) => e("p", {}, `${Duetime.QUESTIONS[label]} You said: ${[...said.get(label)].join(", ") || "none"}.`))];
  }

  outcome(state) {
    const e = Duetime.element, { scene } = this;
    if (state.error) return [e("p", { class: "fail" }, state.error)];
    return [
      ...scene.asks.map((label) => this.answer(state, label)),
      ...state.outcome.map((design) => e("p", { "data-outcome": design.design },
        e("strong", {}, design.design), ` ${[`${design.words}.`, ...design.causes].join(" ")}`)),
      e("p", { id: "rule" }, e("strong", {}, "The rule: "), scene.clause),
    ];
  }

  answer(state, label) {
    const e = Duetime.element, said = this.fixed.get(this.chosen)?.get(label);
    const isJudged = (design) => !design.unaffected && !design.unjudged, judged = state.outcome.filter(isJudged);
    const open = state.outcome.filter((design) => !isJudged(design)).map((design) => design.design), actual = judged.filter((design) => design[label]).map((design) => design.design);
    const right = said && judged.every((design) => said.has(design.design) === Boolean(design[label]));
    const found = actual.filter((design) => said?.has(design));
    return e("p", { "data-answer": label }, e("strong", {}, `${Duetime.QUESTIONS[label]} ${actual.join(" and ") || "None"}${open.length ? `; no verdict on ${open.join(" and ")}` : ""}. `),
      said ? e("span", { class: right ? "pass" : found.length ? "unknown" : "fail" }, ` You said ${[...said].join(" and ") || "none"}${right ? ": right." : found.length ? `: half right, ${found.join(" and ")}.` : "."}`) : null);
  }
};
