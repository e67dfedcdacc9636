// Chapter 4: a step back. Two bumps, all exact: where was x_t at an earlier time?
(() => {
  "use strict";
  const { define, draw, COLOURS } = courseFigures;
  const MEANS = [-1.5, 1.0], WEIGHTS = [0.35, 0.65], STD2 = 0.25 ** 2;                  // docs/figures/forward.py: WORLD
  const POINTS = 2401, LOW = -4, DX = 8 / (POINTS - 1);
  const normal = (x, mean, variance) => Math.exp(-((x - mean) ** 2) / (2 * variance)) / Math.sqrt(2 * Math.PI * variance);
  const density = (x, { alpha, sigma }) => MEANS.reduce((sum, m, k) => sum + WEIGHTS[k] * normal(x, alpha * m, alpha ** 2 * STD2 + sigma ** 2), 0);
  const levels = ({ t, back }) => [back > t ? courseSamplers.CLEAN : courseSamplers.at(t - back), courseSamplers.at(t)];
  const drawn = (x) => 20 + 520 * (x + 3) / 6;

  define("back", {
    kind: "Exact.", label: "A picture of one number, from two bumps. You stand at time t and see x: where was it before? Drag in the picture to move x.",
    question: "from t = 400 and x = -0.05, how far back can a step go before a normal distribution is a bad answer?",
    answer: "Twenty steps back it is excellent, two hundred back it is not: the truth is lopsided, then has two peaks. So a model that answers with a normal must take small steps. "
      + "If x_0 is known (dashed), the answer is exactly normal for every step: that is why the losses are written with x_0.",
    controls: [
      { name: "back", label: "steps back", least: 1, most: 1000, step: 1, value: 200, shown: (back) => `${back}` },
      { name: "t", label: "time t", least: 1, most: 999, step: 1, value: 400 },
      { name: "x", label: "x at time t", least: -2.5, most: 2.5, step: 0.05, value: -0.05, shown: (x) => x.toFixed(2) },
    ],
    compute({ t, back, x: seen }) {
      const [earlier, later] = levels({ t, back }), a = later.alpha / earlier.alpha, b = later.sigma ** 2 - a ** 2 * earlier.sigma ** 2;
      const grid = Array.from({ length: POINTS }, (_, i) => LOW + i * DX);
      const log = grid.map((x) => -((seen - a * x) ** 2) / (2 * b) + Math.log(density(x, earlier))), most = Math.max(...log);
      const raw = log.map((each) => Math.exp(each - most)), total = raw.reduce((p, q) => p + q, 0) * DX, truth = raw.map((each) => each / total);
      const mean = truth.reduce((sum, p, i) => sum + p * grid[i], 0) * DX, variance = truth.reduce((sum, p, i) => sum + p * (grid[i] - mean) ** 2, 0) * DX;
      const kl = truth.reduce((sum, p, i) => sum + (p > 0 ? p * (Math.log(p) + (grid[i] - mean) ** 2 / (2 * variance) + Math.log(2 * Math.PI * variance) / 2) : 0), 0) * DX;
      const known = MEANS.map((m) => {
        if (!earlier.sigma) return { mean: m, variance: 0 };
        const v = 1 / (1 / earlier.sigma ** 2 + a ** 2 / b);
        return { mean: v * (earlier.alpha * m / earlier.sigma ** 2 + a * seen / b), variance: v };
      });
      return { time: earlier === courseSamplers.CLEAN ? null : earlier.t, grid, truth, mean, variance, kl: Math.max(kl, 0), known };
    },
    report: ({ time, mean, variance, kl }, { t }) => `From t = ${t} back to ${time === null ? "the clean picture" : `t = ${time}`}: mean ${mean.toFixed(3)}, standard deviation ${Math.sqrt(variance).toFixed(3)}. `
      + `The best normal is wrong by KL = ${kl < 5e-5 ? "less than 0.0001" : kl.toFixed(4)} nats${kl > 0.05 ? ": one bell cannot say it" : ""}.`,
    drag: (x) => ({ x: (x - 20) / 520 * 6 - 3 }),
    draw({ grid, truth, mean, variance, known }, { x: seen }) {
      const svg = draw("svg", { viewBox: "0 0 560 220" }), most = Math.max(...truth), y = (p) => 180 - 140 * Math.min(p / most, 1.1);
      const line = (values, more) => draw("polyline", { points: values.map((p, i) => (i % 4 && p < 0.01 * most ? "" : `${drawn(grid[i]).toFixed(1)},${y(p).toFixed(1)}`)).join(" "), fill: "none", ...more });
      svg.append(line(truth, { stroke: "none", fill: COLOURS.blue, "fill-opacity": 0.45 }),
        line(grid.map((each) => normal(each, mean, variance)), { stroke: COLOURS.orange, "stroke-width": 2 }));
      known.forEach((each, k) => {
        if (each.variance) svg.append(line(grid.map((x) => normal(x, each.mean, each.variance) * most / normal(0, 0, each.variance) * 0.9), { stroke: COLOURS.green, "stroke-dasharray": "5 4" }));
        else svg.append(draw("line", { x1: drawn(each.mean), x2: drawn(each.mean), y1: 60, y2: 180, stroke: COLOURS.green, "stroke-dasharray": "5 4" }));
        svg.append(draw("text", { x: drawn(each.mean), y: 46, "text-anchor": "middle", fill: COLOURS.green }, `if x₀ = ${MEANS[k]}`));
      });
      svg.append(draw("line", { x1: 20, x2: 540, y1: 180, y2: 180, stroke: "currentColor" }), draw("circle", { cx: drawn(seen), cy: 180, r: 8, fill: COLOURS.red }),
        draw("text", { x: drawn(seen), y: 204, "text-anchor": "middle", fill: COLOURS.red }, "x, seen at time t"),
        draw("text", { x: 20, y: 14, fill: COLOURS.blue }, "true step back"), draw("text", { x: 160, y: 14, fill: COLOURS.orange }, "best normal"), draw("text", { x: 280, y: 14, fill: COLOURS.green }, "when x₀ is known (height not to scale)"));
      for (const x of [-2, -1, 0, 1, 2]) if (Math.abs(x - seen) > 0.6) svg.append(draw("text", { x: drawn(x), y: 198, "text-anchor": "middle" }, String(x)));
      return svg;
    },
  });
})();
