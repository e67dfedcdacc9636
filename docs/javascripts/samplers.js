// The noise schedule and the eight samplers, as in course/schedule.py and course/samplers/basic.py, for every picture that samples in the page.
// tests/site/ compares them with Python: to 1e-5 on points, to a level of 255 on pictures. x is a Float64Array of any length.
(() => {
  "use strict";
  // ---------------------------------------------------------------------------------------------- schedule.py
  const T = 1000, STEPS_OFFSET = 1, f32 = Math.fround;

  // torch.linspace(sqrt(0.00085), sqrt(0.012), T) ** 2, then cumprod(1 - beta), rounded to float32 where torch rounds: bit by bit
  // the table that the networks were trained with
  const alphasCumprod = (() => {
    const start = f32(Math.sqrt(0.00085)), end = f32(Math.sqrt(0.012)), step = f32(f32(end - start) / (T - 1));
    const table = new Float32Array(T);
    let product = 1;
    for (let i = 0; i < T; i++) {
      const root = i < T / 2 ? f32(start + step * i) : f32(end - step * (T - 1 - i));
      product *= f32(1 - f32(root * root));
      table[i] = product;
    }
    return table;
  })();
  const ratios = alphasCumprod.map((a) => f32(Math.sqrt(f32(f32(1 - a) / a))));

  const level = (t, alpha, sigma) => ({ t, alpha, sigma, ratio: sigma / alpha });
  const CLEAN = level(0, 1, 0);
  const ofRatio = (ratio, t = 0) => { const alpha = 1 / Math.sqrt(1 + ratio * ratio); return level(t, alpha, ratio * alpha); };
  const at = (t) => {
    const below = Math.floor(t);
    if (t === below) return level(t, Math.sqrt(alphasCumprod[t]), Math.sqrt(1 - alphasCumprod[t]));
    return ofRatio(ratios[below] + (t - below) * (ratios[below + 1] - ratios[below]), t);
  };
  const halfToEven = (x) => { const r = Math.round(x); return Math.abs(x % 1) === 0.5 && r % 2 ? r - 1 : r; };
  const leading = (n) => {
    const stride = Math.floor(T / n), offset = Math.min(STEPS_OFFSET, T - 1 - (n - 1) * stride);
    return Array.from({ length: n }, (_, i) => (n - 1 - i) * stride + offset);
  };
  const linspace = (n, whole) => {
    const times = Array.from({ length: n }, (_, i) => (n === 1 ? 0 : i === n - 1 ? T - 1 : i * ((T - 1) / (n - 1))));
    return times.map(whole ? halfToEven : f32).reverse();
  };

  // ---------------------------------------------------------------------------------------------- samplers.py
  const transfer = (x, eps, now, next) =>
    x.map((c, i) => c * (next.alpha / now.alpha) + eps[i] * (next.alpha * (next.ratio - now.ratio)));
  const x0Of = (x, eps, now) => x.map((c, i) => (c - now.sigma * eps[i]) / now.alpha);
  const weighted = (weights, list) => list[0].map((_, i) => weights.reduce((sum, w, k) => sum + w * list[k][i], 0));
  const mean = (a, b) => a.map((c, i) => (c + b[i]) / 2);
  const renoise = (x, eps, now, next, noise) => {
    const s2 = (next.sigma / now.sigma) ** 2 * (1 - (now.alpha / next.alpha) ** 2), keep = Math.sqrt(Math.max(next.sigma ** 2 - s2, 0));
    return x0Of(x, eps, now).map((c, i) => next.alpha * c + keep * eps[i] + Math.sqrt(s2) * noise[i]);
  };
  const ADAMS_BASHFORTH = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]];
  const lmsWeights = (nodes, end) => nodes.map((node, k) => {
    let polynomial = [1];
    nodes.forEach((other, m) => {
      if (m === k) return;
      polynomial = [0, ...polynomial].map((high, i) => (high - other * (polynomial[i] ?? 0)) / (node - other));
    });
    return polynomial.reduce((sum, c, n) => sum + c * (end ** (n + 1) - nodes[0] ** (n + 1)) / (n + 1), 0) / (end - nodes[0]);
  });

  // Each is a generator (x, grid, draw): it yields [x, level] to ask for the noise in x, is answered, and returns a list of x, one per level of
  // the grid. Whoever drives it decides whether an answer takes time: the toy worlds answer at once, a network does not.
  function* walk(grid, x, step) {
    const path = [x];
    for (let i = 0; i + 1 < grid.length; i++) path.push(x = yield* step(x, grid[i], grid[i + 1], i));
    return path;
  }
  const run = {
    ddim: (x, grid) => walk(grid, x, function* (x, now, next) { return transfer(x, yield [x, now], now, next); }),
    ddpm: (x, grid, draw) => walk(grid, x, function* (x, now, next) {
      const eps = yield [x, now];
      return next.sigma ? renoise(x, eps, now, next, draw()) : transfer(x, eps, now, next);
    }),
    pndm: (x, grid) => {
      let past = [];
      return walk(grid, x, function* (x, now, next, i) {
        const eps = yield [x, now];
        past = [eps, ...past.slice(0, 3)];
        let guess = weighted(ADAMS_BASHFORTH[past.length - 1], past);
        if (i === 0 && grid.length > 2) guess = mean(guess, yield [transfer(x, eps, now, next), next]);
        return transfer(x, guess, now, next);
      });
    },
    lms: (x, grid) => {
      let past = [];
      return walk(grid, x, function* (x, now, next, i) {
        past = [yield [x, now], ...past.slice(0, 3)];
        return transfer(x, weighted(lmsWeights(past.map((_, k) => grid[i - k].ratio), next.ratio), past), now, next);
      });
    },
    heun: (x, grid) => walk(grid, x, function* (x, now, next) {
      let eps = yield [x, now];
      if (next.sigma) eps = mean(eps, yield [transfer(x, eps, now, next), next]);
      return transfer(x, eps, now, next);
    }),
    dpmpp_2m: (x, grid) => {
      let last = null;
      return walk(grid, x, function* (x, now, next, i) {
        let eps = yield [x, now];
        const x0 = x0Of(x, eps, now);
        if (last && next.sigma) {
          const [before, here, there] = [grid[i - 1], now, next].map((l) => -Math.log(l.ratio));
          const slope = (there - here) / (here - before) / 2;
          eps = x.map((c, j) => (c - now.alpha * (x0[j] + (x0[j] - last[j]) * slope)) / now.sigma);
        }
        last = x0;
        return transfer(x, eps, now, next);
      });
    },
  };
  const SAMPLERS = {      // name: [label, function, spacing, whole timesteps, ends clean, fresh noise]
    ddim: ["DDIM", run.ddim, "leading", true, false, false],
    ddpm: ["DDPM", run.ddpm, "leading", true, true, true],
    pndm: ["PNDM (PLMS)", run.pndm, "leading", true, false, false],
    euler: ["Euler", run.ddim, "linspace", false, true, false],
    euler_ancestral: ["Euler ancestral", run.ddpm, "linspace", false, true, true],
    heun: ["Heun", run.heun, "linspace", false, true, false],
    lms: ["LMS", run.lms, "linspace", false, true, false],
    dpmpp_2m: ["DPM-Solver++ (2M)", run.dpmpp_2m, "linspace", true, true, false],
  };
  const gridOf = (name, steps) => {
    const [, , spacing, whole, clean] = SAMPLERS[name];
    const times = spacing === "leading" ? leading(steps)
      : name === "dpmpp_2m" && steps < T ? linspace(steps + 1, true).slice(0, -1) : linspace(steps, whole);
    return [...times.map(at), clean ? CLEAN : at(0)];
  };
  // What a run begins with: its levels, its first x, and the generator that walks them. draw() gives fresh noise like x.
  const begin = (name, noise, steps, draw) => {
    const [, sampler, spacing, whole] = SAMPLERS[name], grid = gridOf(name, steps);
    const x = spacing === "linspace" && !whole ? noise.map((c) => c * grid[0].sigma) : noise;
    return { grid, walk: sampler(x, grid, draw) };
  };
  // denoise(x, level) -> eps, at once. draws: a list of more noise for the samplers that need it. -> {grid, path, calls}
  const sample = (denoise, name, noise, steps, draws = []) => {
    let drawn = 0, calls = 0;
    const { grid, walk } = begin(name, noise, steps, () => draws[drawn++]);
    let asked = walk.next();
    for (; !asked.done; calls++) asked = walk.next(denoise(...asked.value));
    return { grid, path: asked.value, calls };
  };
  // The same with a denoiser that takes time: denoise(x, level) -> promise of eps
  const sampleSlowly = async (denoise, name, noise, steps, draw) => {
    let calls = 0;
    const { grid, walk } = begin(name, noise, steps, draw);
    let asked = walk.next();
    for (; !asked.done; calls++) asked = walk.next(await denoise(...asked.value));
    return { grid, path: asked.value, calls };
  };
  window.courseSamplers = { T, f32, alphasCumprod, CLEAN, at, ofRatio, SAMPLERS, gridOf, sample, sampleSlowly, x0Of };
})();
