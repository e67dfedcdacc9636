// <toy-flow>: samplers at work in two dimensions, where the perfect denoiser is known.
//
// The same world as the Python package (course/toy.py), the samplers of samplers.js, and the same numbers: tests/site/test_toy_flow.py compares them to 1e-5. Points are kept in one Float64Array x0 y0 x1 y1 ...
// Time runs as it does when sampling: step 0 is pure noise, the last step is the finished picture.
(() => {
  "use strict";
  const { T, f32, alphasCumprod, CLEAN, at, ofRatio, SAMPLERS, gridOf } = courseSamplers;

  // ---------------------------------------------------------------------------------------------- toy.py: ring()
  const PARTS = 6, RADIUS = 1.5, STD = 0.2;
  const MEANS = Array.from({ length: PARTS }, (_, k) => {
    const angle = f32(k * f32(2 * Math.PI / PARTS));             // torch computes the ring in float32
    return [f32(RADIUS * f32(Math.cos(angle))), f32(RADIUS * f32(Math.sin(angle)))];
  });
  const STD2 = f32(STD) ** 2;

  // eps(x) = -sigma * score: for each noisy bump its share of the density at x, times the pull towards its middle
  const denoise = (x, now) => {
    const eps = new Float64Array(x.length), variance = now.alpha ** 2 * STD2 + now.sigma ** 2, log = new Float64Array(PARTS);
    for (let i = 0; i < x.length; i += 2) {
      let most = -Infinity, total = 0, a = 0, b = 0;
      for (let k = 0; k < PARTS; k++) {
        const u = x[i] - now.alpha * MEANS[k][0], v = x[i + 1] - now.alpha * MEANS[k][1];
        log[k] = -(u * u + v * v) / (2 * variance);
        if (log[k] > most) most = log[k];
      }
      for (let k = 0; k < PARTS; k++) {
        const share = Math.exp(log[k] - most);
        total += share;
        a += share * (x[i] - now.alpha * MEANS[k][0]);
        b += share * (x[i + 1] - now.alpha * MEANS[k][1]);
      }
      eps[i] = now.sigma * a / (total * variance);
      eps[i + 1] = now.sigma * b / (total * variance);
    }
    return eps;
  };
  const density = (x, y, now) => {
    const variance = now.alpha ** 2 * STD2 + now.sigma ** 2;
    let sum = 0;
    for (const [a, b] of MEANS) sum += Math.exp(-((x - now.alpha * a) ** 2 + (y - now.alpha * b) ** 2) / (2 * variance));
    return sum / (PARTS * 2 * Math.PI * variance);
  };

  // The probability-flow ODE du/dr = eps in u = x / alpha, r = sigma / alpha, by RK4 on steps that shrink towards the data
  const flow = (x, now, next, steps = 400) => {
    const [from, to] = [Math.cbrt(now.ratio), Math.cbrt(next.ratio)];
    const slope = (u, s) => {
      const here = ofRatio(s ** 3), eps = denoise(u.map((c) => c * here.alpha), here);
      return eps.map((e) => e * 3 * s * s);
    };
    const along = (u, k, h) => u.map((c, i) => c + h * k[i]);
    let u = x.map((c) => c / now.alpha);
    for (let n = 0, h = (to - from) / steps; n < steps; n++) {
      const s = from + n * h;
      const k1 = slope(u, s), k2 = slope(along(u, k1, h / 2), s + h / 2), k3 = slope(along(u, k2, h / 2), s + h / 2);
      const k4 = slope(along(u, k3, h), s + h);
      u = u.map((c, i) => c + (h / 6) * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]));
    }
    return u.map((c) => c * next.alpha);
  };

  const sample = (name, noise, steps, draws) => courseSamplers.sample(denoise, name, noise, steps, draws);

  // Standard normal numbers from a seed: mulberry32 and Box-Muller
  const normals = (seed) => {
    let state = seed >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let z = Math.imul(state ^ (state >>> 15), state | 1);
      z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
      return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
    };
    return (n) => Float64Array.from({ length: n }, () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
  };
  window.toyFlow = { alphasCumprod, MEANS, CLEAN, at, denoise, density, flow, sample, SAMPLERS, gridOf };

  // ---------------------------------------------------------------------------------------------- the element
  const PARTICLES = 300, TRAILS = 40, VIEW = 3.1, STEP_CHOICES = [1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100];
  const DEFAULTS = { sampler: "ddim", steps: 10, step: 10, seed: 0, density: 1, trails: 1 };
  let serial = 0;

  class ToyFlow extends HTMLElement {
    connectedCallback() {
      if (this.drawn) return;
      this.drawn = true;
      const id = `toy${serial++}`;
      const live = document.createElement("div");
      live.className = "toy-live";
      live.innerHTML = `
        <p class="toy-label"><strong>Exact.</strong> No network here: the denoiser is the true one of six Gaussian bumps, computed in
          this page. Step 0 is pure noise.</p>
        <div class="toy-body">
          <canvas role="img" width="560" height="560"></canvas>
          <form class="toy-controls">
            <label for="${id}s">Sampler</label><select id="${id}s" name="sampler">${Object.entries(SAMPLERS)
              .map(([name, [label]]) => `<option value="${name}">${label}</option>`).join("")}</select>
            <label for="${id}n">Number of steps: <output name="stepsOut"></output></label>
            <input id="${id}n" name="steps" type="range" min="0" max="${STEP_CHOICES.length - 1}" step="1">
            <label for="${id}i">Step shown: <output name="stepOut"></output></label>
            <input id="${id}i" name="step" type="range" min="0" step="1">
            <label for="${id}r">Seed</label><input id="${id}r" name="seed" type="number" min="0" max="9999" step="1">
            <span><input id="${id}d" name="density" type="checkbox"><label for="${id}d"> density p(x<sub>t</sub>)</label></span>
            <span><input id="${id}t" name="trails" type="checkbox"><label for="${id}t"> trajectories</label></span>
            <button type="button" class="md-button" name="play">Play</button>
            <p class="toy-report" aria-live="polite"></p>
          </form>
        </div>
        <details class="toy-python"><summary>The same in Python</summary><pre tabindex="0"><code></code></pre></details>`;
      this.append(live);                                        // the strip beside it is for paper, and where scripts do not run
      this.canvas = live.querySelector("canvas");
      this.form = live.querySelector("form");
      this.report = live.querySelector(".toy-report");
      this.python = live.querySelector("pre > code");
      this.state = this.read();
      this.form.addEventListener("submit", (event) => event.preventDefault());
      this.form.addEventListener("input", (event) => this.changed(event.target));
      this.form.elements.play.addEventListener("click", () => (this.timer ? this.stop() : this.play()));
      this.onhash = () => { if (location.hash.startsWith("#toy:")) { this.state = this.read(); this.update(); } };
      this.onscheme = new MutationObserver(() => this.draw());
      window.addEventListener("hashchange", this.onhash);
      this.onscheme.observe(document.body, { attributes: true, attributeFilter: ["data-md-color-scheme"] });
      this.update(false);
      if (location.hash.startsWith("#toy:")) this.show();
      this.dataset.ready = "yes";
    }
    show() {                                                    // formulas get their height late, and push everything down
      const go = () => requestAnimationFrame(() => this.scrollIntoView());
      if (document.readyState !== "complete") window.addEventListener("load", () => setTimeout(go, 200), { once: true });     // after the theme's own scrolling
      if (document.documentElement.dataset.math === "ready") go();
      else document.addEventListener("course:math", go, { once: true });
    }
    disconnectedCallback() {
      this.stop();
      window.removeEventListener("hashchange", this.onhash);
      this.onscheme?.disconnect();
    }
    read() {                                                    // #toy:sampler=heun&steps=10&step=4&seed=0
      const given = location.hash.startsWith("#toy:") ? Object.fromEntries(new URLSearchParams(location.hash.slice(5))) : {};
      const number = (name, low, high) => {
        const value = Math.round(Number(given[name]));
        return given[name] !== undefined && Number.isFinite(value) ? Math.min(Math.max(value, low), high) : null;
      };
      const steps = number("steps", 1, 100) ?? DEFAULTS.steps;
      return {
        sampler: Object.hasOwn(SAMPLERS, given.sampler ?? "") ? given.sampler : DEFAULTS.sampler,
        steps, step: number("step", 0, steps) ?? steps, seed: number("seed", 0, 9999) ?? DEFAULTS.seed,
        density: number("density", 0, 1) ?? DEFAULTS.density, trails: number("trails", 0, 1) ?? DEFAULTS.trails,
      };
    }
    changed(control) {
      const state = this.state, value = Number(control.value), share = state.step / state.steps;
      if (control.name === "sampler") state.sampler = control.value;
      else if (control.name === "steps") { state.steps = STEP_CHOICES[value]; state.step = Math.round(share * state.steps); }
      else if (control.type === "checkbox") state[control.name] = Number(control.checked);
      else if (Number.isInteger(value) && value >= 0 && value <= 9999) state[control.name] = value;
      if (control.name !== "step") this.stop();
      this.update();
    }
    update(write = true) {
      const state = this.state, key = [state.sampler, state.steps, state.seed].join();
      if (key !== this.key) {
        const draw = normals(state.seed + 1), noise = draw(2 * PARTICLES);
        const fresh = SAMPLERS[state.sampler][5] ? Array.from({ length: state.steps }, () => draw(2 * PARTICLES)) : [];
        this.result = sample(state.sampler, noise, state.steps, fresh);
        this.noise = noise;
        this.error = this.measure();
        this.key = key;
      }
      const elements = this.form.elements;
      elements.sampler.value = state.sampler;
      elements.steps.value = Math.max(0, STEP_CHOICES.findIndex((n) => n >= state.steps));
      elements.steps.setAttribute("aria-valuetext", `${state.steps} steps`);
      elements.stepsOut.value = state.steps;
      elements.step.max = state.steps;
      elements.step.value = state.step;
      elements.step.setAttribute("aria-valuetext", `step ${state.step} of ${state.steps}`);
      elements.stepOut.value = `${state.step} of ${state.steps}`;
      if (document.activeElement !== elements.seed || Number(elements.seed.value) > 9999) elements.seed.value = state.seed;
      elements.density.checked = Boolean(state.density);
      elements.trails.checked = Boolean(state.trails);
      const now = this.result.grid[state.step];
      this.report.setAttribute("aria-live", this.timer ? "off" : "polite");        // a play is not read out step by step
      this.report.innerHTML = `t = ${now.t.toFixed(0)}, α = ${now.alpha.toFixed(3)}, σ = ${now.sigma.toFixed(3)}<br>`
        + `${this.result.calls} model calls in all<br>${this.error}`;
      this.python.textContent = this.snippet();
      this.canvas.setAttribute("aria-label", `${PARTICLES} points after step ${state.step} of ${state.steps} with `
        + `${SAMPLERS[state.sampler][0]}, on the noisy density of six bumps. ${this.error}`);
      this.draw();
      if (write) {
        try { history.replaceState(history.state, "", `#toy:${new URLSearchParams(state)}`); } catch { /* some browsers refuse on file:// */ }
      }
    }
    measure() {                                // where the exact flow takes the same noise from t = 999, wherever the sampler starts
      if (SAMPLERS[this.state.sampler][5])
        return "Draws fresh noise on the way, so there is no single right answer for a point.";
      const { grid, path } = this.result, end = path.at(-1), key = `${this.state.seed}, ${grid.at(-1).ratio}`;
      if (key !== this.exactKey) this.exact = flow(this.noise, at(T - 1), grid.at(-1));
      this.exactKey = key;
      const exact = this.exact;
      let sum = 0, home = 0;
      for (let i = 0; i < end.length; i += 2) {
        sum += (end[i] - exact[i]) ** 2 + (end[i + 1] - exact[i + 1]) ** 2;
        if (MEANS.some(([a, b]) => Math.hypot(end[i] - a, end[i + 1] - b) < 3 * STD)) home++;
      }
      this.rms = Math.sqrt(sum / (end.length / 2));
      const late = grid[0].t < 0.9 * (T - 1) ? ` This grid starts at t = ${grid[0].t.toFixed(0)} of ${T - 1}: the way before is not walked.` : "";
      return `Error to the exact flow from t = ${T - 1}: ${this.rms.toPrecision(3)} (root mean square). `
        + `${home} of ${PARTICLES} points end on a bump.${late}`;
    }
    snippet() {
      const { sampler, steps } = this.state;
      return ["import torch", "from course.samplers import SAMPLERS", "from course.schedule import NoiseSchedule",
        "from course.stable_diffusion import SD_V1", "from course.toy import ring", "",
        "world, schedule = ring(), NoiseSchedule.from_config(SD_V1)", `noise = torch.randn(${PARTICLES}, 2, generator=torch.Generator().manual_seed(0))`,
        `points = SAMPLERS["${sampler}"].sample(world.denoise, noise, schedule, ${steps})`].join("\n");
    }
    play() {
      if (this.state.step >= this.state.steps) this.state.step = 0;
      this.form.elements.play.textContent = "Pause";
      this.timer = setInterval(() => {
        if (this.state.step >= this.state.steps) { this.stop(); return; }
        this.state.step++;
        this.update();
      }, Math.max(40, Math.min(400, 4000 / this.state.steps)));
      this.update();
    }
    stop() {
      clearInterval(this.timer);
      this.timer = null;
      if (this.form) this.form.elements.play.textContent = "Play";
    }
    draw() {
      const { canvas, state } = this, size = canvas.width, pen = canvas.getContext("2d");
      const style = getComputedStyle(document.body), dark = document.body.dataset.mdColorScheme === "slate";
      const px = (c) => (c / VIEW + 1) * size / 2, py = (c) => (1 - c / VIEW) * size / 2;
      const { grid, path } = this.result, now = grid[state.step], x = path[state.step];
      pen.fillStyle = style.getPropertyValue("--md-code-bg-color") || "#f5f5f5";
      pen.fillRect(0, 0, size, size);
      if (state.density) {
        const cells = 70, values = new Float64Array(cells * cells);
        let most = 0;
        for (let j = 0; j < cells; j++) for (let i = 0; i < cells; i++) {
          const value = density(((i + .5) / cells * 2 - 1) * VIEW, (1 - (j + .5) / cells * 2) * VIEW, now);
          values[j * cells + i] = value;
          if (value > most) most = value;
        }
        const image = new ImageData(cells, cells), ink = dark ? [150, 170, 255] : [70, 90, 190];
        values.forEach((value, i) => image.data.set([...ink, 200 * Math.sqrt(value / most)], 4 * i));
        const small = document.createElement("canvas");
        small.width = small.height = cells;
        small.getContext("2d").putImageData(image, 0, 0);
        pen.imageSmoothingEnabled = true;
        pen.drawImage(small, 0, 0, size, size);
      }
      if (state.trails) {
        pen.strokeStyle = dark ? "#ffb26b" : "#b34700";
        pen.lineWidth = 1;
        pen.globalAlpha = .55;
        for (let p = 0; p < TRAILS; p++) {
          pen.beginPath();
          for (let n = 0; n <= state.step; n++) pen.lineTo(px(path[n][2 * p]), py(path[n][2 * p + 1]));
          pen.stroke();
        }
        pen.globalAlpha = 1;
      }
      pen.fillStyle = dark ? "#ffffff" : "#101018";
      for (let i = 0; i < x.length; i += 2) {
        pen.beginPath();
        pen.arc(px(x[i]), py(x[i + 1]), 2.4, 0, 2 * Math.PI);
        pen.fill();
      }
    }
  }
  if (!customElements.get("toy-flow")) customElements.define("toy-flow", ToyFlow);
})();
