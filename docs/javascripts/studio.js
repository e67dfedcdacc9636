// <paint-studio>: paints with the shipped model in the page (paint.js). The figure after it, drawn at build, is what paper and readers
// without scripts get. Settings live in the address: #paint:prompt=...&sampler=ddim&steps=25&guidance=7.5&seed=1
(() => {
  "use strict";
  const base = new URL("../assets/", document.currentScript.src).href;
  const DEFAULTS = { prompt: "a bear above a horse on a white background", negative: "", sampler: "dpmpp_2m", steps: 25, guidance: 7.5, seed: 1 };
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  let serial = 0;

  class PaintStudio extends HTMLElement {
    connectedCallback() {
      if (this.drawn) return;
      this.drawn = true;
      const id = `studio${serial++}`;
      if (this.dataset.reason) { this.innerHTML = `<p class="studio-note"></p>`; this.firstChild.textContent = `${this.dataset.reason} Below are pictures drawn when it was built.`; return; }
      if (location.protocol === "file:") { this.innerHTML = `<p class="studio-note">Opened from a folder, a browser runs no models. Served by any web server, this is a place to paint.</p>`; return; }
      const { objects, colours } = JSON.parse(this.dataset.words);
      const choice = (name, label, list) => `<label for="${id}${name}">${label}</label><select id="${id}${name}" name="${name}">${list.map((each) => `<option>${each}</option>`).join("")}</select>`;
      const range = (name, label, least, most, step) => `<label for="${id}${name}">${label}: <output name="${name}Out"></output></label>
        <input id="${id}${name}" name="${name}" type="range" min="${least}" max="${most}" step="${step}">`;
      this.innerHTML = `
        <p class="studio-label"><strong>Learned.</strong> The course's own text-to-image model, run in this page. The same seed gives the same picture as in Python, to one level of 255.</p>
        <form class="studio-form">
          <div class="studio-words">
            ${choice("one", "What", objects)}${choice("relation", "Where", ["alone, large", "alone, small", "above", "left of"])}${choice("two", "What else", objects)}${choice("colour", "On", colours)}
          </div>
          <label for="${id}prompt">Prompt</label><input id="${id}prompt" name="prompt" type="text" maxlength="200" autocomplete="off" spellcheck="false">
          <p class="studio-unknown" aria-live="polite"></p>
          <details><summary>Not this (negative prompt)</summary><label for="${id}negative">Negative prompt</label><input id="${id}negative" name="negative" type="text" maxlength="200" autocomplete="off"></details>
          <div class="studio-settings">
            <span><label for="${id}sampler">Sampler</label><select id="${id}sampler" name="sampler">${Object.entries(courseSamplers.SAMPLERS).map(([name, [label]]) => `<option value="${name}">${label}</option>`).join("")}</select></span>
            <span>${range("steps", "Steps", 1, 50, 1)}</span><span>${range("guidance", "Guidance", 0, 15, 0.5)}</span>
            <span><label for="${id}seed">Seed</label><input id="${id}seed" name="seed" type="number" min="0" max="99999" step="1"> <button type="button" name="dice" class="md-button" aria-label="Another seed">⚄</button></span>
          </div>
          <p><button type="submit" name="go" class="md-button md-button--primary">Load the model (${megabytes(Number(this.dataset.bytes))}, half of that compressed) and paint</button>
            <button type="button" name="keep" class="md-button" disabled>Keep beside</button></p>
          <p class="studio-report" role="status"></p>
        </form>
        <div class="studio-pictures" hidden>
          <figure><canvas class="studio-now" role="img" width="64" height="64"></canvas><figcaption>now</figcaption></figure>
          <figure class="studio-kept" hidden><canvas role="img" width="64" height="64"></canvas><figcaption></figcaption></figure>
          <div class="studio-steps">
            <label for="${id}at">Call of the network: <output name="atOut"></output></label><input id="${id}at" name="at" type="range" min="1" step="1">
            <div class="studio-split">${[["x", "what the sampler holds"], ["x0", "the picture it points to"], ["negative", "without the prompt"], ["positive", "with the prompt"]]
              .map(([name, label]) => `<figure><canvas data-part="${name}" role="img" width="64" height="64" aria-label="${label}"></canvas><figcaption>${label}</figcaption></figure>`).join("")}</div>
          </div>
        </div>
        <details class="studio-python"><summary>The same in Python</summary><pre tabindex="0"><code></code></pre></details>`;
      this.form = this.querySelector("form");
      this.at = this.querySelector("input[name=at]");
      this.state = this.read();
      this.form.addEventListener("submit", (event) => { event.preventDefault(); this.paint(); });
      this.form.addEventListener("input", (event) => this.changed(event.target));
      this.form.elements.dice.addEventListener("click", () => { this.state.seed = Math.floor(Math.random() * 100000); this.show(); if (this.result) this.paint(); });
      this.form.elements.keep.addEventListener("click", () => this.keep());
      this.at.addEventListener("input", () => this.look());
      const [, one, relation, two, colour] = DEFAULTS.prompt.match(/^a (\w+) (above|left of) a (\w+) on a (\w+) background$/);
      Object.entries({ one, relation, two, colour }).forEach(([name, value]) => { this.form.elements[name].value = value; });
      this.show(false);
      if (location.hash.startsWith("#paint:")) document.addEventListener("course:math", () => this.scrollIntoView(), { once: true });
      this.dataset.ready = "yes";
    }
    read() {
      const given = location.hash.startsWith("#paint:") ? Object.fromEntries(new URLSearchParams(location.hash.slice(7))) : {};
      const number = (name, least, most, digits) => {
        const value = Number(given[name]);
        return given[name] !== undefined && Number.isFinite(value) ? Math.min(Math.max(Number(value.toFixed(digits)), least), most) : DEFAULTS[name];
      };
      const text = (name) => (given[name] ?? DEFAULTS[name]).slice(0, 200);
      return { prompt: text("prompt"), negative: text("negative"), sampler: Object.hasOwn(courseSamplers.SAMPLERS, given.sampler ?? "") ? given.sampler : DEFAULTS.sampler,
        steps: number("steps", 1, 50, 0), guidance: number("guidance", 0, 15, 1), seed: number("seed", 0, 99999, 0) };
    }
    changed(control) {
      const { elements } = this.form, state = this.state;
      if (["one", "relation", "two", "colour"].includes(control.name)) {
        const [kind, size] = elements.relation.value.split(", "), a = (word) => (/^[aeiou]/.test(word) ? `an ${word}` : `a ${word}`);
        state.prompt = `${size ? `a ${size} ${elements.one.value}` : `${a(elements.one.value)} ${kind} ${a(elements.two.value)}`} on a ${elements.colour.value} background`;
        elements.two.disabled = Boolean(size);
      } else if (["steps", "guidance"].includes(control.name)) state[control.name] = Number(control.value);
      else if (control.name === "seed") { const value = Number(control.value); if (Number.isInteger(value) && value >= 0 && value <= 99999) state.seed = value; }
      else state[control.name] = control.value;
      this.show();
    }
    show(write = true) {
      const { elements } = this.form, state = this.state;
      for (const name of ["prompt", "negative", "sampler", "steps", "guidance", "seed"])
        if (document.activeElement !== elements[name] && elements[name].value !== String(state[name])) elements[name].value = state[name];
      for (const name of ["steps", "guidance"]) elements[`${name}Out`].value = state[name];
      const strange = this.engine ? [...new Set([...this.engine.tokens.words(state.prompt), ...this.engine.tokens.words(state.negative)].filter((word) => /\p{L}/u.test(word) && !this.engine.tokens.known(word)))] : [];
      const box = this.querySelector(".studio-unknown");
      box.replaceChildren(...(strange.length ? ["It has never seen: ", ...strange.flatMap((word, i) => [i ? ", " : "", Object.assign(document.createElement("u"), { textContent: word })])] : []));
      const command = ["course render", quoted(state.prompt), ...(state.negative ? ["--negative", quoted(state.negative)] : []),
        `--sampler ${state.sampler} --steps ${state.steps} --guidance ${state.guidance} --seed ${state.seed}`].join(" ");
      this.querySelector(".studio-python code").textContent = command;
      if (write) try { history.replaceState(history.state, "", `#paint:${new URLSearchParams(state)}`); } catch { /* some browsers refuse */ }
    }
    say(text) { this.querySelector(".studio-report").textContent = text; }
    async paint() {
      if (this.busy) { this.again = true; return; }
      this.busy = true;
      const button = this.form.elements.go, began = performance.now();
      try {
        if (!this.engine) {
          const total = Number(this.dataset.bytes);
          this.say("Loading ...");
          this.engine = await coursePaint.load(base, (bytes) => this.busy && this.say(`Loading: ${megabytes(bytes)} of ${megabytes(total)} ...`));
          button.textContent = "Paint";
          this.show(false);
        }
        do {
          this.again = false;
          const settings = { ...this.state }, start = performance.now();
          const result = await this.engine.paint(settings, async (calls) => {
            if (calls % 4 === 0) { this.say(`Call ${calls} ...`); await new Promise((next) => setTimeout(next)); }
          });
          this.result = { ...result, settings };
          this.say(`${result.calls} calls of the network, ${((performance.now() - start) / 1000).toFixed(1)} s in this page.`);
          this.at.max = result.seen.length;
          this.at.value = result.seen.length;
          this.querySelector(".studio-pictures").hidden = false;
          this.put(this.querySelector(".studio-now"), result.pixels, `${settings.prompt}, painted with seed ${settings.seed}`);
          this.form.elements.keep.disabled = false;
          await this.look();
        } while (this.again);
        this.dataset.painted = String(performance.now() - began);
      } catch (error) {
        this.say(`It did not work: ${error.message ?? error}. The pictures below were drawn when the site was built.`);
        this.dataset.failed = "yes";
      } finally { this.busy = false; }
    }
    put(canvas, pixels, label) {
      canvas.getContext("2d").putImageData(new ImageData(pixels, 64, 64), 0, 0);
      if (label) canvas.setAttribute("aria-label", label);
    }
    async look() {                                               // the pictures of one call
      const seen = this.result.seen[this.at.value - 1], wanted = this.at.value;
      this.querySelector("output[name=atOut]").value = `${wanted} of ${this.result.seen.length}, t = ${seen.t.toFixed(0)}`;
      this.at.setAttribute("aria-valuetext", `call ${wanted} of ${this.result.seen.length}`);
      for (const canvas of this.querySelectorAll("canvas[data-part]")) {
        const pixels = await this.engine.decode(seen[canvas.dataset.part]);
        if (this.at.value !== wanted) return;                    // the reader is somewhere else already
        this.put(canvas, pixels);
      }
    }
    keep() {
      const kept = this.querySelector(".studio-kept"), { settings, pixels } = this.result;
      kept.hidden = false;
      this.put(kept.querySelector("canvas"), pixels, `kept: ${settings.prompt}`);
      kept.querySelector("figcaption").textContent = `kept: ${settings.sampler}, ${settings.steps} steps, guidance ${settings.guidance}, seed ${settings.seed}`;
    }
  }
  if (!customElements.get("paint-studio")) customElements.define("paint-studio", PaintStudio);
})();
