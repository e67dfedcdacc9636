// Chapter 11: two distances between two sets of N features, measured again and again. The truth is known.
(() => {
  "use strict";
  const { define, draw, COLOURS } = courseFigures;
  const SIZES = [2, 3, 6, 10, 20, 50, 100, 200], REPEATS = 40;

  // eigenvalues and eigenvectors (columns) of a symmetric matrix, by Jacobi's rotations
  const eigen = (matrix) => {
    const n = matrix.length, a = matrix.map((row) => [...row]), v = a.map((_, i) => a.map((__, j) => Number(i === j)));
    for (let sweep = 0; sweep < 30; sweep++) {
      let off = 0;
      for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) {
        off += a[p][q] ** 2;
        if (Math.abs(a[p][q]) < 1e-300) continue;
        const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]), t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1)), c = 1 / Math.sqrt(t * t + 1), s = t * c;
        for (let k = 0; k < n; k++) [a[k][p], a[k][q]] = [c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]];
        for (let k = 0; k < n; k++) [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
        for (let k = 0; k < n; k++) [v[k][p], v[k][q]] = [c * v[k][p] - s * v[k][q], s * v[k][p] + c * v[k][q]];
      }
      if (off < 1e-28) break;
    }
    return { values: a.map((row, i) => Math.max(row[i], 0)), vectors: v };
  };
  const times = (a, b) => a.map((row) => b[0].map((_, j) => row.reduce((sum, each, k) => sum + each * b[k][j], 0)));
  const moments = (x) => {
    const n = x.length, mean = x[0].map((_, d) => x.reduce((sum, row) => sum + row[d], 0) / n);
    const cov = mean.map((_, i) => mean.map((__, j) => x.reduce((sum, row) => sum + (row[i] - mean[i]) * (row[j] - mean[j]), 0) / (n - 1)));
    return { mean, cov, trace: cov.reduce((sum, row, i) => sum + row[i], 0) };
  };
  // |m - m'|^2 + tr S + tr S' - 2 tr (S^1/2 S' S^1/2)^1/2
  const frechet = (x, y) => {
    const [a, b] = [moments(x), moments(y)], { values, vectors } = eigen(a.cov);
    const root = vectors.map((row) => vectors.map((other) => values.reduce((sum, value, k) => sum + row[k] * Math.sqrt(value) * other[k], 0)));
    const cross = eigen(times(times(root, b.cov), root)).values.reduce((sum, value) => sum + Math.sqrt(value), 0);
    return a.mean.reduce((sum, m, d) => sum + (m - b.mean[d]) ** 2, 0) + a.trace + b.trace - 2 * cross;
  };
  const kernel = (x, y) => {
    const mean = (a, b, without) => {
      let sum = 0;
      a.forEach((p, i) => b.forEach((q, j) => { if (!without || i !== j) { let dot = 0; for (let d = 0; d < p.length; d++) dot += p[d] * q[d]; sum += (dot / p.length + 1) ** 3; } }));
      return sum / (a.length * (b.length - without));
    };
    return mean(x, x, 1) + mean(y, y, 1) - 2 * mean(x, y, 0);
  };
  // what both are for infinitely many: x ~ N(0, I), y ~ N(b, I) with |b|^2 = n
  const truths = (D, shift) => {
    const n = shift ** 2, yy = 1 + 3 * n / D + 3 * (n * n + 2 * n + D) / D ** 2 + (n ** 3 + 3 * n * (2 * n + D + 2)) / D ** 3;
    return { frechet: n, kernel: 1 + 3 / D + yy - 2 * (1 + 3 * (n + D) / D ** 2) };
  };
  const average = (list) => list.reduce((a, b) => a + b, 0) / list.length;

  define("distance", {
    kind: "Exact.", label: `Features of pictures, as normal numbers. Two sets of N are drawn ${REPEATS} times, and measured each time.`,
    question: "both sets come from the very same distribution, six pictures each. What does the Fréchet distance say?",
    answer: "Something far above zero, every time: it cannot be negative, and each set fits its own covariance. More pictures shrink the error like 1/N. The kernel distance is right on average "
      + "for every N; a single measurement of it may be negative, and that is as it should be.",
    controls: [
      { name: "size", label: "pictures in each set", least: 0, most: SIZES.length - 1, step: 1, value: 2, shown: (k) => `N = ${SIZES[k]}` },
      { name: "shift", label: "true shift between the sets", least: 0, most: 2, step: 0.1, value: 0, shown: (shift) => shift.toFixed(1) },
      { name: "D", label: "numbers in a feature", value: "8", choices: { 2: "2", 4: "4", 8: "8" } },
      { name: "seed", label: "draw again", least: 0, most: 50, step: 1, value: 0, shown: (seed) => `seed ${seed}` },
    ],
    compute({ size, shift, D: dimensions, seed }) {
      const N = SIZES[size], D = Number(dimensions), all = 2 * N * D * REPEATS, numbers = coursePaint.generator(seed)(16 * Math.ceil(all / 16));
      const set = (k) => Array.from({ length: N }, (_, i) => Array.from({ length: D }, (__, d) => numbers[(k * N + i) * D + d] + (k % 2 && d === 0 ? shift : 0)));
      const pairs = Array.from({ length: REPEATS }, (_, r) => [set(2 * r), set(2 * r + 1)]);
      return { frechet: pairs.map(([x, y]) => frechet(x, y)), kernel: pairs.map(([x, y]) => kernel(x, y)), truth: truths(D, shift) };
    },
    report({ frechet, kernel, truth }, { size }) {
      const one = (name, list, right) => `${name}: on average ${average(list).toFixed(3)}, from ${Math.min(...list).toFixed(3)} to ${Math.max(...list).toFixed(3)}; true ${right.toFixed(3)}`;
      return `N = ${SIZES[size]}. ${one("Fréchet", frechet, truth.frechet)}. ${one("Kernel", kernel, truth.kernel)}.`;
    },
    draw({ frechet, kernel, truth }) {
      const svg = draw("svg", { viewBox: "0 0 560 224" });
      [["Fréchet", frechet, truth.frechet, COLOURS.blue], ["Kernel", kernel, truth.kernel, COLOURS.green]].forEach(([name, list, right, colour], row) => {
        const [low, high] = [Math.min(0, right, ...list), Math.max(right, ...list)], room = (high - low) * 0.08 || 1, y = 70 + 100 * row;
        const x = (value) => 90 + 450 * (value - low + room) / (high - low + 2 * room), mean = average(list);
        svg.append(draw("text", { x: 6, y: y + 5, fill: colour }, name), draw("line", { x1: 90, x2: 540, y1: y + 26, y2: y + 26, stroke: "currentColor" }),
          draw("line", { x1: x(right), x2: x(right), y1: y - 32, y2: y + 26, stroke: COLOURS.orange, "stroke-width": 3 }),
          draw("text", { x: x(right), y: y - 38, "text-anchor": "middle", fill: COLOURS.orange }, `true ${right.toFixed(2)}`),
          draw("path", { d: `M${x(mean)},${y + 14}l6,12h-12z`, fill: colour }), draw("text", { x: x(mean), y: y + 41, "text-anchor": "middle" }, `mean ${mean.toFixed(2)}`));
        list.forEach((value, k) => svg.append(draw("circle", { cx: x(value).toFixed(1), cy: y - 20 + 34 * ((k * 0.618) % 1), r: 3, fill: colour, opacity: 0.6 })));
      });
      return svg;
    },
  });
})();
