// Formulas are drawn when the site is built. Where that could not be done (no Node), or for what is put into a page later, KaTeX is
// loaded here and draws every element of class "arithmatex" that holds \( .. \) or \[ .. \].
// `document$` tells of every page reached by instant navigation.
(() => {
  const source = new URL("../assets/katex/katex.min.js", document.currentScript.src).href;
  let library = null;
  const katexReady = () => library ??= window.katex ? Promise.resolve() : new Promise((done, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src: source, onload: done, onerror: () => failed(new Error(`${source} could not be loaded`)) });
    document.head.append(script);
  });
  const draw = (element) => {
    const text = element.textContent.trim(), displayMode = text.startsWith("\\[");
    try {
      katex.render(text.slice(2, -2), element, { displayMode, throwOnError: true, strict: "ignore" });
    } catch (error) {
      element.classList.add("math-error");
      element.title = String(error.message || error);
      console.error(`formula: ${text}: ${error.message || error}`);
    }
    element.dataset.drawn = "yes";
  };
  const page = async () => {
    delete document.documentElement.dataset.math;
    const waiting = document.querySelectorAll(".arithmatex:not([data-drawn])");
    if (waiting.length) {
      await katexReady();
      waiting.forEach((element) => { if (!element.dataset.drawn) draw(element); });
    }
    await document.fonts.ready;                           // only now do formulas have their final width
    document.documentElement.dataset.math = "ready";
    document.dispatchEvent(new Event("course:math"));
  };
  window.courseKatex = katexReady;
  window.courseMath = page;                               // for what is put into a page later
  page();
  window.document$?.subscribe(page);
})();
