// Chapter 8: what guidance does to a crowd. Six spots, two of them in the caption; every denoiser is exact.
(() => {
  "use strict";
  const { define, draw, COLOURS } = courseFigures;
  const { f32, sample } = courseSamplers;
  const STD2 = f32(0.35) ** 2, POINTS = 320, STEPS = 50;
  const SPOTS = Array.from({ length: 6 }, (_, k) => {                                   // docs/figures/guided.py, computed in float32
    const angle = f32(k * f32(2 * Math.PI / 6));
    return [f32(f32(1.3) * f32(Math.cos(angle))), f32(f32(1.3) * f32(Math.sin(angle)))];
  });
  const CAPTION = SPOTS.slice(0, 2);
  const shares = (x, y, means, alpha, variance) => {
    const log = means.map(([a, b]) => -((x - alpha * a) ** 2 + (y - alpha * b) ** 2) / (2 * variance)), most = Math.max(...log), raw = log.map((each) => Math.exp(each - most));
    return { raw, total: raw.reduce((p, q) => p + q, 0), most };
  };
  const denoiser = (means) => (x, { alpha, sigma }) => {
    const eps = new Float64Array(x.length), variance = alpha ** 2 * STD2 + sigma ** 2;
    for (let i = 0; i < x.length; i += 2) {
      const { raw, total } = shares(x[i], x[i + 1], means, alpha, variance);
      raw.forEach((share, k) => { for (const c of [0, 1]) eps[i + c] += share / total * (x[i + c] - alpha * means[k][c]) * sigma / variance; });
    }
    return eps;
  };
  const logProb = (x, y, means) => {
    const { total, most } = shares(x, y, means, 1, STD2);
    return most + Math.log(total / means.length) - Math.log(2 * Math.PI * STD2);
  };
  const nearest = (x, y) => SPOTS.map(([a, b]) => (x - a) ** 2 + (y - b) ** 2).reduce((best, d, k, all) => (d < all[best] ? k : best), 0);
  const side = 56, at = (i) => -3 + 6 * (i + 0.5) / side;

  define("guided", {
    kind: "Exact.", label: "Six kinds of pictures; the caption names two. 320 points walk from the same noise through 50 steps of DDIM.",
    question: "at which scale do the points look most like the caption's own pictures, and what do they lose beyond it?",
    answer: "At 1, where nothing is guided: points and contours agree. More scale brings the typical and loses the varied, until the points lie where no picture of the caption is. "
      + "Switch the background: the points do not follow the tilted density either, which guidance is often said to sample.",
    controls: [
      { name: "scale", label: "guidance scale", least: -1, most: 10, step: 0.25, value: 3 },
      { name: "low", label: "guided from t", least: 0, most: 999, step: 1, value: 0 },
      { name: "high", label: "up to t", least: 0, most: 999, step: 1, value: 999 },
      { name: "against", label: "pushed away from", value: "all", choices: { all: "no caption (all six)", 3: "the spot on the left", 4: "the spot below, left", 2: "the spot above, left" } },
      { name: "behind", label: "background", value: "caption", choices: { caption: "pictures of the caption", tilted: "p(x) (p(x|c) / p(x))^scale" } },
    ],
    compute({ scale, low, high, against }) {
      const negative = denoiser(against === "all" ? SPOTS : [SPOTS[Number(against)]]), positive = denoiser(CAPTION);
      const guided = (x, level) => {
        const g = low <= level.t && level.t <= high ? scale : 1, first = negative(x, level), second = positive(x, level);
        return first.map((each, i) => each + g * (second[i] - each));
      };
      const end = sample(guided, "ddim", coursePaint.generator(0)(2 * POINTS), STEPS).path.at(-1);
      const mean = [0, 1].map((c) => end.reduce((sum, each, i) => sum + (i % 2 === c ? each : 0), 0) / POINTS);
      let right = 0, fit = 0, spread = 0;
      for (let i = 0; i < end.length; i += 2) {
        right += nearest(end[i], end[i + 1]) < 2;
        fit += logProb(end[i], end[i + 1], CAPTION);
        spread += (end[i] - mean[0]) ** 2 + (end[i + 1] - mean[1]) ** 2;
      }
      return { end, share: right / POINTS, spread: Math.sqrt(spread / (POINTS - 1)), fit: fit / POINTS };
    },
    report: ({ share, spread, fit }, { scale, low, high }) => `Scale ${scale}${low > 0 || high < 999 ? ` while ${low} ≤ t ≤ ${high}, else 1` : ""}: ${(100 * share).toFixed(1)} % are nearest to a spot of the caption, spread ${spread.toFixed(2)} `
      + `(the caption's own pictures: ${Math.hypot(0.5 * 1.3, Math.sqrt(2) * 0.35).toFixed(2)}), mean log p(x|c) ${fit.toFixed(2)}.`,
    draw({ end }, { scale, against, behind }) {
      const svg = draw("svg", { viewBox: "80 6 400 288" }), x = (value) => 280 + 50 * value, y = (value) => 150 - 50 * value;
      const means = against === "all" ? SPOTS : [SPOTS[Number(against)]];
      const log = Array.from({ length: side * side }, (_, i) => {
        const [a, b] = [at(i % side), at(Math.floor(i / side))], caption = logProb(a, b, CAPTION);
        if (behind === "caption") return caption;
        const plain = logProb(a, b, means);
        return plain + scale * (caption - plain);
      });
      const most = Math.max(...log);
      log.forEach((each, i) => {
        const share = Math.exp(each - most);
        if (share > 0.03) svg.append(draw("rect", { x: x(at(i % side)) - 2.7, y: y(at(Math.floor(i / side))) - 2.7, width: 5.4, height: 5.4, fill: COLOURS.orange, opacity: (0.55 * share).toFixed(2) }));
      });
      SPOTS.forEach(([a, b], k) => svg.append(draw("circle", { cx: x(a), cy: y(b), r: 50 * 0.35, fill: "none", stroke: k < 2 ? COLOURS.orange : COLOURS.grey, "stroke-dasharray": k < 2 ? "none" : "3 3" })));
      for (let i = 0; i < end.length; i += 2) svg.append(draw("circle", { cx: x(end[i]).toFixed(1), cy: y(end[i + 1]).toFixed(1), r: 1.8, fill: COLOURS.blue }));
      svg.append(draw("text", { x: 84, y: 22, fill: COLOURS.blue }, "points: guided"), draw("text", { x: 84, y: 40, fill: COLOURS.orange }, behind === "caption" ? "shade: pictures of the caption" : "shade: the tilted density"));
      return svg;
    },
  });
})();
