// Figures that move: one small element for all of them. A figure is data: its controls, what it computes from them (pure, compared with
// Python by tests/site/test_figures.py), and how that is drawn as SVG. The still figure after the element is for paper and for readers
// without scripts. The state lives in the address: #fig-gap:towards=0.5
(() => {
  "use strict";
  const figures = {};
  const NS = "http://www.w3.org/2000/svg";
  const draw = (tag, attributes = {}, ...children) => {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const COLOURS = { blue: "#3b82c4", orange: "#d9730d", green: "#2f9e58", purple: "#9a62c9", red: "#dc4a4a", grey: "#808894" };
  let serial = 0;

  const define = (name, figure) => {
    const tag = `fig-${name}`;
    figures[name] = figure;
    const defaults = Object.fromEntries(figure.controls.map((control) => [control.name, control.value]));
    class MovingFigure extends HTMLElement {
      connectedCallback() {
        if (this.drawn) return;
        this.drawn = true;
        const id = `${tag}${serial++}`;
        const input = ({ name, label, least, most, step, choices }) => choices
          ? `<span><label for="${id}${name}">${label}</label> <select id="${id}${name}" name="${name}">${Object.entries(choices).map(([value, text]) => `<option value="${value}">${text}</option>`).join("")}</select></span>`
          : `<span><label for="${id}${name}">${label}: <output name="${name}Out"></output></label><input id="${id}${name}" name="${name}" type="range" min="${least}" max="${most}" step="${step}"></span>`;
        this.innerHTML = `<p class="fig-label"><strong>${figure.kind}</strong> ${figure.label}</p>
          <details class="fig-predict"><summary>Predict first: ${figure.question}</summary><p>${figure.answer}</p></details>
          <div class="fig-drawing"></div><form>${figure.controls.map(input).join("")}<button type="button" class="md-button" name="reset">Start again</button></form>
          <p class="fig-report" aria-live="polite"></p>`;
        this.form = this.querySelector("form");
        this.state = this.read();
        this.form.addEventListener("submit", (event) => event.preventDefault());
        this.form.addEventListener("input", ({ target }) => {
          this.state[target.name] = target.tagName === "SELECT" ? target.value : Number(target.value);
          this.update();
        });
        this.form.elements.reset.addEventListener("click", () => { this.state = { ...defaults }; this.update(); });
        this.update(false);
        if (location.hash.startsWith(`#${tag}:`)) document.addEventListener("course:math", () => this.scrollIntoView(), { once: true });
        this.dataset.ready = "yes";
      }
      read() {
        const given = location.hash.startsWith(`#${tag}:`) ? Object.fromEntries(new URLSearchParams(location.hash.slice(tag.length + 2))) : {};
        return Object.fromEntries(figure.controls.map(({ name, value, least, most, choices }) => {
          if (choices) return [name, Object.hasOwn(choices, given[name] ?? "") ? given[name] : value];
          const number = Number(given[name]);
          return [name, given[name] !== undefined && Number.isFinite(number) ? Math.min(Math.max(number, least), most) : value];
        }));
      }
      update(write = true) {
        const { elements } = this.form;
        for (const { name, choices, shown } of figure.controls) {
          elements[name].value = this.state[name];
          if (choices) continue;
          const text = shown ? shown(this.state[name]) : String(this.state[name]);
          elements[`${name}Out`].value = text;
          elements[name].setAttribute("aria-valuetext", text);
        }
        const result = figure.compute(this.state, this.dataset), report = figure.report(result, this.state);
        this.querySelector(".fig-report").textContent = report;
        const drawing = figure.draw(result, this.state, this);
        drawing.setAttribute("role", "img");
        drawing.setAttribute("aria-label", report);
        this.querySelector(".fig-drawing").replaceChildren(drawing);
        if (write) try { history.replaceState(history.state, "", `#${tag}:${new URLSearchParams(this.state)}`); } catch { /* some browsers refuse */ }
      }
    }
    if (!customElements.get(tag)) customElements.define(tag, MovingFigure);
  };

  // ---------------------------------------------------------------------------------------------- chapter 1: the gap
  const sum = (list) => list.reduce((a, b) => a + b, 0);
  const normalised = (list) => { const total = sum(list); return list.map((each) => each / total); };
  define("gap", {
    kind: "Exact.", label: "One observed x, six possible causes z. Move the guess q; the numbers are computed in this page.",
    question: "when q has become the posterior, which of the three numbers is zero, and which has not moved at all?",
    answer: "The gap, KL(q ‖ posterior), is zero; log p(x) never moved, because q is not in it. The bound rose by exactly what the gap lost.",
    controls: [
      { name: "towards", label: "q, from the poor guess to the posterior", least: 0, most: 1, step: 0.01, value: 0.25 },
      { name: "tail", label: "weight of q on z = 6, times", least: 0.1, most: 4, step: 0.1, value: 1 },
    ],
    compute({ towards, tail }, { joint = "[0.02,0.09,0.15,0.08,0.04,0.02]", poor = "[0.3,0.1,0.05,0.05,0.15,0.35]" } = {}) {
      const weights = JSON.parse(joint), posterior = normalised(weights);
      const q = normalised(JSON.parse(poor).map((guess, z) => ((1 - towards) * guess + towards * posterior[z]) * (z === 5 ? tail : 1)));
      const kl = (a, b) => sum(a.map((each, z) => each * Math.log(each / b[z])));
      const evidence = Math.log(sum(weights)), bound = sum(q.map((each, z) => each * Math.log(weights[z] / each)));
      return { posterior, q, evidence, bound, gap: kl(q, posterior), other: kl(posterior, q),
        printed: bound + Math.log(sum(q.map((each, z) => each * each / posterior[z]))) };
    },
    report: ({ evidence, bound, gap, other, printed }) => `log p(x) = ${evidence.toFixed(3)} = bound ${bound.toFixed(3)} + gap ${gap.toFixed(3)}. The other way round, `
      + `KL(posterior ‖ q) = ${other.toFixed(3)}. With the log outside of the mean, as once printed: ${printed.toFixed(3)}${printed - evidence > 5e-4 ? ", too much" : ""}.`,
    draw({ posterior, q, evidence, bound, printed }) {
      const svg = draw("svg", { viewBox: "0 0 560 210" }), height = (p) => 150 * p / 0.6;
      posterior.forEach((p, z) => {
        svg.append(draw("rect", { x: 20 + 38 * z, y: 170 - height(p), width: 15, height: height(p), fill: COLOURS.orange }),
          draw("rect", { x: 36 + 38 * z, y: 170 - height(q[z]), width: 15, height: height(q[z]), fill: COLOURS.blue }),
          draw("text", { x: 35 + 38 * z, y: 186, "text-anchor": "middle" }, String(z + 1)));
      });
      svg.append(draw("text", { x: 20, y: 14, fill: COLOURS.orange }, "posterior p(z | x)"), draw("text", { x: 165, y: 14, fill: COLOURS.blue }, "guess q(z | x)"), draw("text", { x: 130, y: 204, "text-anchor": "middle" }, "z"));
      const low = -2.6, high = 0.1, y = (value) => 20 + 165 * (high - Math.min(Math.max(value, low), high)) / (high - low);
      svg.append(draw("line", { x1: 300, x2: 470, y1: y(evidence), y2: y(evidence), stroke: COLOURS.orange, "stroke-width": 2 }),
        draw("rect", { x: 340, y: y(evidence), width: 70, height: Math.max(y(bound) - y(evidence), 0), fill: COLOURS.grey, opacity: 0.35 }),
        draw("rect", { x: 340, y: y(bound), width: 70, height: y(low) - y(bound), fill: COLOURS.blue, opacity: 0.8 }),
        draw("line", { x1: 330, x2: 440, y1: y(printed), y2: y(printed), stroke: COLOURS.red, "stroke-width": 1.5, "stroke-dasharray": "5 4" }),
        draw("text", { x: 474, y: y(evidence) + 4, fill: COLOURS.orange }, "log p(x)"), draw("text", { x: 375, y: y(low) - 8, "text-anchor": "middle", fill: "#fff" }, "bound"),
        draw("text", { x: 416, y: (y(evidence) + y(bound)) / 2 + 4 }, "gap"), draw("text", { x: 444, y: y(printed) - 5, fill: COLOURS.red }, "as once printed"));
      return svg;
    },
  });

  // ---------------------------------------------------------------------------------------------- chapter 3: noise
  const tables = {
    scaled: (t) => (Math.sqrt(0.00085) + t / 999 * (Math.sqrt(0.012) - Math.sqrt(0.00085))) ** 2,
    linear: (t) => 1e-4 + t / 999 * (0.02 - 1e-4),
    cosine: (t) => { const f = (u) => Math.cos((u + 0.008) / 1.008 * Math.PI / 2) ** 2; return Math.min(1 - f((t + 1) / 1000) / f(t / 1000), 0.999); },
  };
  const products = Object.fromEntries(Object.entries(tables).map(([name, beta]) => {
    let product = 1;
    return [name, Array.from({ length: 1000 }, (_, t) => (product *= 1 - beta(t)))];
  }));
  const amplitudes = (schedule, t, slip) => {
    const bar = products[schedule][t], one = 1 - tables[schedule](t);
    if (slip === "bar") return [Math.sqrt(one), Math.sqrt(1 - one)];
    if (slip === "root") return [bar, 1 - bar];
    return [Math.sqrt(bar), Math.sqrt(1 - bar)];
  };
  const dots = Float64Array.from({ length: 64 * 64 * 3 });                 // one noise for all settings, filled when first needed
  define("noise", {
    kind: "Exact.", label: "One scene, one noise, in the proportions that the formula gives.",
    question: "with the bar forgotten (α for ᾱ), what does the picture look like at t = 900?",
    answer: "Almost clean: α belongs to one step, and one step adds little noise. At the first step the two agree, so a test at t = 0 sees nothing.",
    controls: [
      { name: "t", label: "time t", least: 0, most: 999, step: 1, value: 250 },
      { name: "schedule", label: "schedule", value: "scaled", choices: { scaled: "scaled linear (Stable Diffusion)", linear: "linear (DDPM)", cosine: "cosine" } },
      { name: "slip", label: "formula", value: "right", choices: { right: "right", bar: "α for ᾱ", root: "roots forgotten" } },
    ],
    compute({ t, schedule, slip }) {
      const [alpha, sigma] = amplitudes(schedule, t, slip);
      return { alpha, sigma, snr: (alpha / sigma) ** 2, variance: alpha ** 2 + sigma ** 2 };
    },
    report: ({ alpha, sigma, snr, variance }) => `picture × ${alpha.toFixed(4)} + noise × ${sigma.toFixed(4)}; signal-to-noise ratio ${snr.toPrecision(3)}; `
      + `variance of the sum, for pictures of variance 1: ${variance.toFixed(3)}${Math.abs(variance - 1) > 1e-6 ? ", not preserved" : ""}.`,
    draw({ alpha, sigma }, { t, schedule, slip }, element) {
      if (!dots[0]) dots.set(coursePaint.generator(3)(dots.length));
      const svg = draw("svg", { viewBox: "0 0 560 210" });
      const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
      const box = draw("image", { x: 0, y: 5, width: 200, height: 200, style: "image-rendering: pixelated" });
      const paint = () => {
        const pixels = new ImageData(64, 64);
        for (let i = 0; i < 64 * 64; i++) for (let c = 0; c < 4; c++) {
          const clean = element.scene[4 * i + c] / 127.5 - 1;
          pixels.data[4 * i + c] = c === 3 ? 255 : 127.5 * (alpha * clean + sigma * dots[3 * i + c] + 1);
        }
        canvas.getContext("2d").putImageData(pixels, 0, 0);
        box.setAttribute("href", canvas.toDataURL());
      };
      if (element.scene) paint();
      else if (element.dataset.scene) {
        const image = new Image();
        image.onload = () => {
          const pen = canvas.getContext("2d");
          pen.drawImage(image, 0, 0, 64, 64);
          element.scene = pen.getImageData(0, 0, 64, 64).data;
          element.update(false);
        };
        image.src = element.dataset.scene;
      }
      const x = (time) => 240 + 300 * time / 999, y = (value) => 185 - 160 * Math.min(value, 1);
      const curve = (which, colour) => draw("polyline", { fill: "none", stroke: colour, "stroke-width": 2,
        points: Array.from({ length: 101 }, (_, i) => { const time = Math.round(i * 9.99); return `${x(time).toFixed(1)},${y(amplitudes(schedule, time, slip)[which]).toFixed(1)}`; }).join(" ") });
      svg.append(box, draw("line", { x1: 240, x2: 540, y1: 185, y2: 185, stroke: "currentColor" }), draw("line", { x1: 240, x2: 240, y1: 25, y2: 185, stroke: "currentColor" }),
        curve(0, COLOURS.orange), curve(1, COLOURS.blue), draw("line", { x1: x(t), x2: x(t), y1: 25, y2: 185, stroke: COLOURS.grey, "stroke-dasharray": "3 3" }),
        draw("circle", { cx: x(t), cy: y(alpha), r: 5, fill: COLOURS.orange }), draw("circle", { cx: x(t), cy: y(sigma), r: 5, fill: COLOURS.blue }),
        draw("text", { x: 250, y: 16, fill: COLOURS.orange }, "picture"), draw("text", { x: 320, y: 16, fill: COLOURS.blue }, "noise"),
        draw("text", { x: 390, y: 204, "text-anchor": "middle" }, "time t"), draw("text", { x: 232, y: 30, "text-anchor": "end" }, "1"), draw("text", { x: 232, y: 189, "text-anchor": "end" }, "0"));
      return svg;
    },
  });

  // ---------------------------------------------------------------------------------------------- chapter 6: the race
  const RUNNERS = ["ddim", "euler", "pndm", "lms", "heun", "dpmpp_2m"], POINTS = 120;
  const stepsFor = { heun: (calls) => Math.max(1, Math.floor((calls + 1) / 2)), pndm: (calls) => Math.max(1, calls - 1) };
  const exactEnds = new Map();                                             // the exact flow is slow, and the same for both runners
  const runners = () => Object.fromEntries(RUNNERS.map((name) => [name, courseSamplers.SAMPLERS[name][0]]));
  define("race", {
    kind: "Exact.", label: "Six bumps, an exact denoiser, the same noise for both. Each may call the denoiser as often as the budget says.",
    question: "with 10 calls each, who comes closer to the exact solution: Heun with two calls a step, or DPM-Solver++ with one?",
    answer: "See for yourself, and then with 40 calls: a second call a step pays only once the steps are short enough.",
    controls: [
      { name: "left", label: "left", value: "heun", choices: runners() },
      { name: "right", label: "right", value: "dpmpp_2m", choices: runners() },
      { name: "budget", label: "calls each", least: 2, most: 60, step: 1, value: 10 },
      { name: "seed", label: "noise", least: 0, most: 20, step: 1, value: 1, shown: (seed) => `seed ${seed}` },
    ],
    compute({ left, right, budget, seed }) {
      const noise = coursePaint.generator(seed)(2 * POINTS);
      const run = (name) => {
        const { path, grid, calls } = toyFlow.sample(name, noise, (stepsFor[name] ?? ((n) => n))(budget)), end = path.at(-1), key = `${seed} ${grid.at(-1).ratio}`;
        if (!exactEnds.has(key)) { if (exactEnds.size > 20) exactEnds.clear(); exactEnds.set(key, toyFlow.flow(noise, toyFlow.at(999), grid.at(-1))); }
        const exact = exactEnds.get(key);
        return { name, calls, steps: grid.length - 1, end, exact, error: Math.sqrt(end.reduce((total, each, i) => total + (each - exact[i]) ** 2, 0) / POINTS) };
      };
      return { left: run(left), right: run(right) };
    },
    report({ left, right }) {
      const one = ({ name, calls, steps, error }) => `${courseSamplers.SAMPLERS[name][0]}: ${steps} steps, ${calls} calls, error ${error.toPrecision(3)}`;
      return `${one(left)}. ${one(right)}. ${left.error === right.error ? "A draw." : `Closer to the exact flow from t = 999: ${left.error < right.error ? "left" : "right"}.`}`;
    },
    draw({ left, right }) {
      const svg = draw("svg", { viewBox: "0 0 560 270" });
      [left, right].forEach(({ name, end, exact, error }, side) => {
        const x = (value) => 140 + 280 * side + 48 * value, y = (value) => 145 - 48 * value;
        svg.append(draw("text", { x: x(0), y: 14, "text-anchor": "middle" }, `${courseSamplers.SAMPLERS[name][0]}: ${error.toPrecision(3)}`));
        for (const [a, b] of toyFlow.MEANS) svg.append(draw("circle", { cx: x(a), cy: y(b), r: 48 * 0.4, fill: COLOURS.grey, opacity: 0.3 }));
        for (let i = 0; i < end.length; i += 2) svg.append(draw("line", { x1: x(exact[i]), y1: y(exact[i + 1]), x2: x(end[i]), y2: y(end[i + 1]), stroke: COLOURS.orange, "stroke-width": 1 }));
        for (let i = 0; i < end.length; i += 2) svg.append(draw("circle", { cx: x(end[i]), cy: y(end[i + 1]), r: 2, fill: COLOURS.blue }));
      });
      svg.append(draw("text", { x: 280, y: 264, "text-anchor": "middle" }, "blue: where the sampler ends; orange: how far from where the exact flow ends"));
      return svg;
    },
  });

  window.courseFigures = figures;
})();
