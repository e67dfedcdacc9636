// Shows a deck (course/slides.py) with reveal.js. What is too tall for a slide becomes smaller until it fits.
(() => {
  "use strict";
  const WIDTH = 1280, HEIGHT = 720, LEAST = 0.4;
  if (!window.Reveal) return;                              // the deck is then read from top to bottom
  document.body.classList.add("shown");
  const fit = (slide) => {
    const body = slide?.querySelector(":scope > .fit");
    if (!body || !slide.offsetHeight) return;
    let zoom = 1;
    body.style.zoom = zoom;
    const tooMuch = () => slide.scrollHeight > HEIGHT || slide.offsetHeight > HEIGHT || [...body.querySelectorAll("pre, .arithmatex, figure")].some((e) => e.scrollWidth > e.clientWidth + 1);
    while (tooMuch() && zoom > LEAST) body.style.zoom = (zoom *= 0.94);
    slide.dataset.zoom = zoom.toFixed(2);
  };
  const deck = new window.Reveal({
    width: WIDTH, height: HEIGHT, margin: 0.02, center: false, hash: true, slideNumber: "c/t", transition: "none", controlsTutorial: false,
    pdfSeparateFragments: false, pdfMaxPagesPerSlide: 1, plugins: window.RevealNotes ? [window.RevealNotes] : [],
    keyboardCondition: () => !document.activeElement?.matches("input, select, textarea"),      // figures that move keep their keys
  });
  deck.initialize().then(() => {
    const here = () => fit(deck.getCurrentSlide());
    deck.on("slidechanged", here);
    document.addEventListener("input", here);
    deck.on("pdf-ready", () => deck.getSlides().forEach(fit));
    here();
    window.course = { deck, fit };
  });
})();
