// Chapter 6: two samplers with the same number of calls.
(() => {
  "use strict";
  const { define, draw, COLOURS } = courseFigures;
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
})();
