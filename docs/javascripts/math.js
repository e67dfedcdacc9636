// Formulas: arithmatex leaves \( .. \) and \[ .. \] in elements of class "arithmatex"; KaTeX draws them here.
// `document$` tells of every page reached by instant navigation.
(() => {
  const macros = {
    "\\E": "\\mathbb{E}", "\\KL": "D_{\\mathrm{KL}}", "\\Normal": "\\mathcal{N}", "\\dd": "\\mathrm{d}",
  };
  const draw = (element) => {
    if (element.dataset.drawn) return;
    const text = element.textContent.trim();
    const display = text.startsWith("\\[");
    try {
      katex.render(text.slice(2, -2), element, { displayMode: display, throwOnError: true, strict: "ignore", macros: { ...macros } });
    } catch (error) {
      element.classList.add("math-error");
      element.title = String(error.message || error);
      console.error(`formula: ${text}: ${error.message || error}`);
    }
    element.dataset.drawn = "yes";
  };
  const page = () => {
    delete document.documentElement.dataset.math;
    document.querySelectorAll(".arithmatex").forEach(draw);
    document.fonts.ready.then(() => {                     // only now do formulas have their final width
      document.documentElement.dataset.math = "ready";
      document.dispatchEvent(new Event("course:math"));
    });
  };
  window.courseMath = page;                               // for what is put into a page later
  page();
  window.document$?.subscribe(page);
})();
