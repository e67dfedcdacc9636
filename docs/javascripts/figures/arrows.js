// Chapter 2: which products of conditionals are the joint distribution. Everything is binary, and the joint is a table.
(() => {
  "use strict";
  const { define, draw, COLOURS } = courseFigures;
  const MOST = 5, named = (i) => (i ? `z${"₀₁₂₃₄₅"[i]}` : "x"), bit = (cell, i) => (cell >> i) & 1;

  // p(x, z_1 .. z_T) of a decoder that walks down; with long memory each step also looks at the top. Bit i of a cell is variable i.
  const joint = (T, memory) => Array.from({ length: 2 ** (T + 1) }, (_, cell) => {
    let p = bit(cell, T) ? 0.2 : 0.8;
    for (let t = T; t >= 1; t--) {
      const one = 0.05 + 0.6 * bit(cell, t) + 0.02 * t + (memory ? 0.2 * bit(cell, T) - 0.04 : 0);
      p *= bit(cell, t - 1) ? one : 1 - one;
    }
    return p;
  });
  // p of the variables in `which` at the values they have in `cell`
  const marginal = (table, which, cell) => table.reduce((sum, p, other) => sum + (which.every((i) => bit(other, i) === bit(cell, i)) ? p : 0), 0);

  const factorsOf = ({ T, first, ...state }) => [
    { left: first === "top" ? T : Number(first), given: null },
    ...Array.from({ length: T }, (_, k) => (state[`turn${k + 1}`] ? { left: k + 1, given: k } : { left: k, given: k + 1 })),
  ];
  const written = ({ left, given }) => (given === null ? `p(${named(left)})` : `p(${named(left)}|${named(given)})`);

  define("arrows", {
    kind: "Exact.", label: "Every variable is 0 or 1, so the product can be summed over all cases. Tap an arrow to turn it.",
    question: "turn one arrow and leave the rest. Which rule is broken, and does the product still sum to 1?",
    answer: "One variable now stands left of a bar twice, and another never. The product is not a distribution any more. Turn all arrows that lead away from a variable, begin with that "
      + "variable, and it is the joint distribution again: the chain is Markov in both directions. With long memory only the factors that remember would do.",
    controls: [
      { name: "T", label: "number of hidden variables T", least: 2, most: MOST, step: 1, value: 3 },
      { name: "first", label: "the factor without a bar", value: "top", choices: { top: "the top, z_T", 1: "z₁", 0: "x" } },
      ...Array.from({ length: MOST }, (_, k) => ({ name: `turn${k + 1}`, label: `turned: ${named(k)} and ${named(k + 1)}`, value: k === 1, when: ({ T }) => k < T })),
      { name: "memory", label: "long memory: each step also looks at z_T", value: false },
    ],
    compute(state) {
      const { T, memory } = state, table = joint(T, memory), factors = factorsOf(state);
      const product = table.map((_, cell) => factors.reduce((value, { left, given }) =>
        value * (given === null ? marginal(table, [left], cell) : marginal(table, [left, given], cell) / marginal(table, [given], cell)), 1));
      const counts = Array.from({ length: T + 1 }, (_, i) => factors.filter(({ left }) => left === i).length);
      const off = product.map((p, cell) => Math.abs(p - table[cell])), worst = Math.max(...off), cell = worst > 1e-9 ? off.indexOf(worst) : -1;
      return { counts, cells: table.length, sum: product.reduce((a, b) => a + b, 0), off: worst, cell, product: product[cell] ?? 0, joint: table[cell] ?? 0,
        text: factors.map(written).join(" ") };
    },
    report({ counts, cells, sum, cell, product, joint, text }, { T }) {
      const times = ["never", "once", "twice", "three times"];
      const odd = counts.map((n, i) => (n === 1 ? "" : `${named(i)} ${times[n]}`)).filter(Boolean).join(", ");
      const rule = odd ? `Left of a bar: ${odd}.` : "Every variable stands left of a bar once.";
      const at = cell < 0 ? "" : `x = ${bit(cell, 0)}, ${Array.from({ length: T }, (_, k) => `${named(k + 1)} = ${bit(cell, k + 1)}`).join(", ")}`;
      if (cell < 0) return `${text}. ${rule} It is the joint distribution in all ${cells} cases.`;
      const total = Math.abs(sum - 1) > 1e-9 ? `Summed over all ${cells} cases it gives ${sum.toFixed(4)}: no distribution.` : "It sums to 1, and is another distribution:";
      return `${text}. ${rule} ${total} At ${at} the product is ${product.toFixed(5)}, the joint ${joint.toFixed(5)}.`;
    },
    draw({ counts }, state) {
      const { T, first, memory } = state, svg = draw("svg", { viewBox: "0 0 560 150" }), x = (i) => 45 + 94 * i * 5 / T * 0.98, y = 80;
      const top = first === "top" ? T : Number(first);
      for (let k = 0; k < T; k++) {
        const turned = state[`turn${k + 1}`], [from, to] = turned ? [x(k) + 22, x(k + 1) - 22] : [x(k + 1) - 22, x(k) + 22], way = Math.sign(to - from);
        svg.append(draw("g", { "data-toggle": `turn${k + 1}`, stroke: COLOURS.orange, fill: COLOURS.orange, style: "cursor: pointer" },
          draw("line", { x1: from, x2: to - 8 * way, y1: y, y2: y, "stroke-width": 2.5 }),
          draw("path", { d: `M${to},${y}l${-11 * way},-6v12z`, stroke: "none" }),
          draw("text", { x: (from + to) / 2, y: y - 30, "text-anchor": "middle", stroke: "none" }, written(turned ? { left: k + 1, given: k } : { left: k, given: k + 1 })),
          draw("rect", { x: Math.min(from, to), y: y - 44, width: Math.abs(to - from), height: 66, fill: "transparent", stroke: "none" })));
      }
      if (memory && T > 2) svg.append(draw("path", { d: `M${x(T)},${y - 24}C${x(T)},8 ${x(0)},8 ${x(0)},${y - 24}`, fill: "none", stroke: COLOURS.grey, "stroke-dasharray": "4 4" }));
      counts.forEach((n, i) => svg.append(
        draw("circle", { cx: x(i), cy: y, r: 20, fill: i === top ? COLOURS.orange : "none", "fill-opacity": 0.25, stroke: "currentColor" }),
        draw("text", { x: x(i), y: y + 5, "text-anchor": "middle" }, named(i)),
        draw("text", { x: x(i), y: y + 46, "text-anchor": "middle", fill: n === 1 ? COLOURS.green : COLOURS.red }, `${n} ×`)));
      svg.append(draw("text", { x: 280, y: 146, "text-anchor": "middle" }, "how often each stands left of a bar"));
      return svg;
    },
  });
})();
