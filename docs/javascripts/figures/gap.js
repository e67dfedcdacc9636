// Chapter 1: the bound and its gap.
(() => {
  "use strict";
  const { define, draw, COLOURS } = courseFigures;
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
})();
