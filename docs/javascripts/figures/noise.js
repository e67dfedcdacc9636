// Chapter 3: noise in the right proportion, and in three wrong ones.
(() => {
  "use strict";
  const { define, draw, COLOURS } = courseFigures;
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
})();
