// Small repairs to what the theme draws, found with axe: names for nameless controls, and a way to scroll without a mouse.
(() => {
  const repair = () => {
    document.querySelectorAll(".katex-display, .md-typeset__scrollwrap, pre > code, .md-typeset pre").forEach((box) => {
      if (box.scrollWidth > box.clientWidth + 1) {
        box.tabIndex = 0;
        if (!box.hasAttribute("role") && box.tagName !== "PRE") box.setAttribute("role", "region");
        if (!box.hasAttribute("aria-label")) box.setAttribute("aria-label", "Wider than the page: scroll sideways");
      }
    });
    document.querySelectorAll(".md-annotation__index").forEach((mark) => mark.setAttribute("aria-label", "Note"));
  };
  document.addEventListener("course:math", repair);
  window.addEventListener("resize", repair);
})();
