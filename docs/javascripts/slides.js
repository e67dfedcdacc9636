// Shows a deck (course/slides.py) with reveal.js. What is too tall for a slide becomes smaller until it fits; what then is still too tall scrolls.
(() => {
  "use strict";
  const WIDTH = 1280, HEIGHT = 720, LEAST = 0.55;
  const here = document.currentScript.src;
  if (!window.Reveal) return;                              // the deck is then read from top to bottom
  const fit = (slide) => {
    const body = slide?.querySelector(":scope > .fit");
    if (!body || !slide.offsetHeight) return;
    let zoom = 1;
    Object.assign(body.style, { zoom, maxHeight: "", overflowY: "" });
    const tooMuch = () => slide.scrollHeight > HEIGHT || [...body.querySelectorAll("pre, div.arithmatex")].some((e) => e.scrollWidth > e.clientWidth + 1);
    while (tooMuch() && zoom * 0.94 > LEAST) body.style.zoom = (zoom *= 0.94);
    if (slide.scrollHeight > HEIGHT) {
      Object.assign(body.style, { maxHeight: `${(HEIGHT - 32 - body.getBoundingClientRect().top / deck.getScale()) / zoom}px`, overflowY: "auto" });
      while (slide.scrollHeight > HEIGHT && parseFloat(body.style.maxHeight) > 100) body.style.maxHeight = `${parseFloat(body.style.maxHeight) - 20}px`;
      body.tabIndex = 0;
    }
    slide.dataset.zoom = zoom.toFixed(2);
  };
  const deck = new window.Reveal({
    width: WIDTH, height: HEIGHT, margin: 0.02, center: false, hash: true, slideNumber: "c/t", transition: "none", controlsTutorial: false,
    pdfMaxPagesPerSlide: 1, plugins: window.RevealNotes ? [window.RevealNotes] : [],
    keyboardCondition: () => !document.activeElement?.matches("input, select, textarea"),      // figures that move keep their keys
  });
  const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL("../assets/runtimes/reveal/reveal.css", here).href });
  style.addEventListener("load", async () => {
    document.body.classList.add("shown");
    await deck.initialize();
    const now = () => fit(deck.getCurrentSlide());
    deck.on("slidechanged", now);
    document.addEventListener("input", now);
    deck.on("pdf-ready", () => deck.getSlides().forEach(fit));
    now();
    window.course = { deck, fit };
  });
  document.head.prepend(style);                            // before the deck's own style
})();
