// Small repairs to what the theme draws, found with axe: names for nameless parts, and a way to scroll without a mouse.
(() => {
  const label = (selector, text) => document.querySelectorAll(selector).forEach((element) => {
    if (!element.hasAttribute("aria-label")) element.setAttribute("aria-label", text);
  });
  const repair = () => {
    label(".md-search[role=dialog]", "Search");
    label(".md-annotation__index", "Note");
    document.querySelectorAll(".md-code__nav").forEach((nav, i) => nav.setAttribute("aria-label", `Listing ${i + 1}`));
    label(".md-code__button", "Copy this listing");
    document.querySelectorAll("nav.md-nav[aria-labelledby]").forEach((nav, i) => {     // on a phone their labels are hidden, and with them the names
      const name = nav.parentElement.querySelector(":scope > .md-nav__link, :scope > .md-nav__container")?.textContent.replace(/\s+/g, " ").trim();
      nav.setAttribute("aria-label", `${name || "Pages"}, part ${i + 1}`);
      nav.removeAttribute("aria-labelledby");
    });
    const taken = new Set();                                       // two headings of one name in a table of contents; case is not heard
    document.querySelectorAll("nav.md-nav[aria-label]").forEach((nav) => {
      const name = nav.getAttribute("aria-label");
      let unique = name;
      for (let n = 2; taken.has(unique.toLowerCase()); n++) unique = `${name}, part ${n}`;
      taken.add(unique.toLowerCase());
      nav.setAttribute("aria-label", unique);
    });
    document.querySelectorAll(".arithmatex, .fig-drawing, .eq-shown, .formula-later, .katex-display, .drawing, .md-typeset__scrollwrap, .md-typeset pre > code, .md-typeset pre").forEach((box) => {
      const wide = box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX);
      box.classList.toggle("is-wide", wide);                      // a shade at the edge says that there is more
      if (!wide) return;
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      label(".md-typeset [role=group][tabindex]", "Wider than the page: scroll sideways");
    });
  };
  document.addEventListener("course:math", repair);
  window.addEventListener("resize", repair);
  document.addEventListener("toggle", repair, true);            // what was folded away has a width now
})();
