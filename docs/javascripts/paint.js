// The small Stable Diffusion in the page: tokenizer, noise, guidance and pictures, as in course/stable_diffusion.py, with the networks as
// ONNX (course/browser.py) and the samplers of samplers.js. The same seed gives the same picture as in Python, but for values that two
// libraries' sums round to neighbouring levels; tests/site/test_studio.py compares them. Nothing is loaded before load() is called.
(() => {
  "use strict";
  // ---------------------------------------------------------------------------------------------- torch.randn on the CPU
  // MT19937 (Matsumoto and Nishimura 1998), 24 bits to a float, and Box-Muller in groups of sixteen: eight radii, then eight angles.
  const twister = (seed) => {
    const state = new Uint32Array(624);
    state[0] = seed;
    for (let i = 1; i < 624; i++) { const s = state[i - 1] ^ (state[i - 1] >>> 30); state[i] = Math.imul(1812433253, s) + i; }
    let at = 624;
    const renew = () => {
      for (let i = 0; i < 624; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
        state[i] = state[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    };
    return () => {
      if (at === 624) renew();
      let y = state[at++];
      y ^= y >>> 11; y ^= (y << 7) & 0x9d2c5680; y ^= (y << 15) & 0xefc60000; y ^= y >>> 18;
      return y >>> 0;
    };
  };
  const TURN = Math.fround(2 * Math.PI);                 // rounded where torch rounds
  const generator = (seed) => {                          // randn(n), n a multiple of 16
    const next = twister(seed);
    return (n) => {
      const out = Float64Array.from({ length: n }, () => (next() & 0xffffff) / 16777216);
      for (let i = 0; i < n; i += 16) for (let j = i; j < i + 8; j++) {
        const radius = Math.fround(Math.sqrt(-2 * Math.fround(Math.log(1 - out[j])))), angle = Math.fround(TURN * out[j + 8]);
        out[j] = Math.fround(radius * Math.cos(angle));
        out[j + 8] = Math.fround(radius * Math.sin(angle));
      }
      return out;
    };
  };

  // ---------------------------------------------------------------------------------------------- CLIP's tokenizer
  const WORDS = /<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/giu;
  const BYTES = (() => {                                 // every byte as a printable letter (Radford et al. 2019)
    const plain = (b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174);
    let extra = 0;
    return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(plain(b) ? b : 256 + extra++));
  })();
  const tokenizer = ({ vocab, merges, length }) => {
    const rank = new Map(merges.map((pair, i) => [pair, i]));
    const pieces = (word) => {
      const parts = Array.from(new TextEncoder().encode(word), (b) => BYTES[b]);
      parts[parts.length - 1] += "</w>";
      for (;;) {
        let best = Infinity, at = -1;
        for (let i = 0; i + 1 < parts.length; i++) {
          const r = rank.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
          if (r < best) { best = r; at = i; }
        }
        if (at < 0) return parts;
        const [a, b] = [parts[at], parts[at + 1]];
        for (let i = 0; i + 1 < parts.length; i++) if (parts[i] === a && parts[i + 1] === b) parts.splice(i, 2, a + b);
      }
    };
    const words = (text) => text.normalize("NFC").replace(/\s+/g, " ").toLowerCase().match(WORDS) ?? [];
    const [start, end] = [vocab["<|startoftext|>"], vocab["<|endoftext|>"]];
    return {
      length,
      ids(text) {
        const ids = words(text).flatMap((word) => (word in vocab && word.startsWith("<|") ? [vocab[word]] : pieces(word).map((piece) => vocab[piece] ?? end)));
        const kept = [start, ...ids.slice(0, length - 2), end];
        return [...kept, ...Array(length - kept.length).fill(end)];
      },
      words,
      known: (word) => `${word}</w>` in vocab && (word.length > 1 || word === "a"),      // one token, as in the captions of its training
    };
  };

  // ---------------------------------------------------------------------------------------------- the model
  const CHANNELS = 4, SIDE = 8, SIZE = CHANNELS * SIDE * SIDE, PIXELS = 64;
  let loaded = null;

  const fetched = async (url, progress) => {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
    const reader = answer.body.getReader(), parts = [];
    for (let step = await reader.read(); !step.done; step = await reader.read()) { parts.push(step.value); progress(step.value.length); }
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  };

  // base: the folder `assets/` of the site. progress(bytes so far)
  const load = (base, progress = () => {}) => loaded ??= (async () => {
    let sum = 0;
    const more = (n) => progress(sum += n);
    const ort = await import(new URL("runtimes/ort/ort.wasm.bundle.min.mjs", base).href);
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = { wasm: new URL("runtimes/ort/ort-wasm-simd-threaded.wasm", base).href };
    const [unet, decoder, text, about] = await Promise.all(["unet.onnx", "decoder.onnx", "text.onnx", "tokenizer.json"]
      .map((name) => fetched(new URL(`model/${name}`, base).href, more)));
    const open = (bytes) => ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    const sessions = { text: await open(text), unet: await open(unet), decoder: await open(decoder) };
    return engine(ort, sessions, tokenizer(JSON.parse(new TextDecoder().decode(about))));
  })().catch((error) => { loaded = null; throw error; });

  const engine = (ort, sessions, tokens) => {
    const tensor = (values, shape) => new ort.Tensor("float32", Float32Array.from(values), shape);
    // The network itself: x (B, 4, 8, 8) as one list, a time, the words of B prompts -> its answer, like x
    const predict = async (x, t, words) => (await sessions.unet.run({ x: tensor(x, [x.length / SIZE, CHANNELS, SIDE, SIDE]), t: tensor([t], [1]), context: words })).out.data;
    const context = async (prompts) => {
      const ids = BigInt64Array.from(prompts.flatMap((prompt) => tokens.ids(prompt)), BigInt);
      return (await sessions.text.run({ ids: new ort.Tensor("int64", ids, [prompts.length, tokens.length]) })).out;
    };
    const decode = async (x) => {                        // latent -> 64 x 64 RGBA, as the library rounds
      const { data } = (await sessions.decoder.run({ x: tensor(x, [1, CHANNELS, SIDE, SIDE]) })).out;
      const area = PIXELS * PIXELS, out = new Uint8ClampedArray(4 * area);
      for (let i = 0; i < area; i++) {
        for (let c = 0; c < 3; c++) out[4 * i + c] = Math.round(255 * Math.min(Math.max(data[c * area + i] / 2 + .5, 0), 1));
        out[4 * i + 3] = 255;
      }
      return out;
    };
    // -> {pixels, x, seen: [{t, x, x0, negative, positive}], calls}; a call can be watched and stopped (`step` throws)
    const paint = async ({ prompt, negative = "", sampler = "dpmpp_2m", steps = 25, guidance = 7.5, seed = 42 }, step = () => {}) => {
      const { sampleSlowly, x0Of } = courseSamplers, draw = generator(seed), seen = [];
      const noise = draw(SIZE), guided = guidance !== 1;
      const words = await context(guided ? [negative, prompt] : [prompt]);
      const denoise = async (x, level) => {
        const data = await predict(guided ? [...x, ...x] : x, level.t, words);
        const first = Float64Array.from(data.subarray(0, SIZE)), second = guided ? Float64Array.from(data.subarray(SIZE)) : first;
        const eps = guided ? first.map((c, i) => c + guidance * (second[i] - c)) : first;
        seen.push({ t: level.t, x, x0: x0Of(x, eps, level), negative: x0Of(x, first, level), positive: x0Of(x, second, level) });
        await step(seen.length);
        return eps;
      };
      const { path, calls } = await sampleSlowly(denoise, sampler, noise, steps, () => draw(SIZE));
      return { x: path.at(-1), pixels: await decode(path.at(-1)), seen, calls };
    };
    return { paint, decode, tokens, context, predict };
  };

  window.coursePaint = { generator, tokenizer, load };
})();
