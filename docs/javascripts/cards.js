// The cards of formulas (course/equations/cards.py) are plain HTML and need no script to open. This adds: formulas inside a card are drawn
// when it opens, a tap on a line of a formula opens the card of that line, and two buttons copy.
(() => {
  const judgePage = new URL("../reference/judge/", document.currentScript.src).href;
  const drawInside = (card) => {
    card.querySelectorAll(":scope > section .formula-later").forEach((element) => element.classList.replace("formula-later", "arithmatex"));
    card.querySelectorAll(".formula-command:not([data-copy])").forEach((code) => {
      code.dataset.copy = "yes";
      const section = code.closest("section");
      for (const [label, text] of [["copy LaTeX", section.dataset.latex], ["copy command", code.textContent]]) {
        const button = document.createElement("button");
        Object.assign(button, { type: "button", className: "formula-copy", textContent: label });
        button.addEventListener("click", async () => {
          try { await navigator.clipboard.writeText(text); button.textContent = "copied"; } catch { button.textContent = "the browser refuses: select it by hand"; }
          setTimeout(() => { button.textContent = label; }, 2000);
        });
        code.before(button);
      }
      if (location.protocol !== "file:") {
        const own = Object.assign(document.createElement("a"), { className: "formula-own", textContent: "write your own",
          href: `${judgePage}#judge:${new URLSearchParams({ latex: section.dataset.latex, setting: section.dataset.setting })}` });
        code.before(own);
      }
    });
    return window.courseMath();
  };
  // Which line of an aligned formula lies at this height: the lines of KaTeX's right-hand column, from the top.
  const lineAt = (formula, y) => {
    const rows = Array.from(formula.querySelectorAll(".katex-html .mtable > .col-align-l > .vlist-t > .vlist-r:first-child > .vlist > span"));
    const far = rows.map((row) => { const box = row.lastElementChild.getBoundingClientRect(); return Math.abs(y - (box.top + box.bottom) / 2); });
    return far.indexOf(Math.min(...far));
  };
  const cardOf = (formula) => {
    const next = formula.nextElementSibling;
    return next?.matches("details.formula-card") ? next : null;
  };
  const open = (card, section) => {
    card.open = true;
    section?.scrollIntoView({ block: "nearest" });
    card.querySelectorAll(".formula-here").forEach((each) => each.classList.remove("formula-here"));
    if (section && card.querySelectorAll(":scope > section").length > 1) section.classList.add("formula-here");
  };
  document.addEventListener("toggle", (event) => {
    if (event.target.matches?.("details.formula-card[open]")) drawInside(event.target);
  }, true);
  document.addEventListener("click", (event) => {
    const formula = event.target.closest?.("div.arithmatex");
    const card = formula && cardOf(formula);
    if (!card || String(getSelection())) return;                 // somebody who marks a formula wants to copy it
    const sections = card.querySelectorAll(":scope > section"), line = lineAt(formula, event.clientY);
    open(card, sections[Math.min(Math.max(line, 0), sections.length - 1)]);
  });
  const fromAddress = () => {
    const target = /^#f-[0-9a-f]+x*-[0-9]+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
    if (target) open(target.closest("details.formula-card"), target);
  };
  const mark = () => document.querySelectorAll("div.arithmatex").forEach((formula) => formula.classList.toggle("has-card", Boolean(cardOf(formula))));
  document.addEventListener("course:math", mark);
  document.addEventListener("course:math", fromAddress, { once: true });
  window.addEventListener("hashchange", fromAddress);
})();
