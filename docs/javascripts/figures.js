// Figures that move: one small element for all of them. A figure is data: its controls, what it computes from them (pure, compared with
// Python by tests/site/test_figures.py), and how that is drawn as SVG. Each has a file, figures/NAME.js, loaded by the pages that show it.
// The still figure after the element is for paper and for readers without scripts. The state lives in the address: #fig-gap:towards=0.5
(() => {
  "use strict";
  const figures = {}, home = new URL("figures/", document.currentScript.src).href;
  const NS = "http://www.w3.org/2000/svg";
  const draw = (tag, attributes = {}, ...children) => {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const COLOURS = { blue: "#3b82c4", orange: "#d9730d", green: "#2f9e58", purple: "#9a62c9", red: "#dc4a4a", grey: "#808894" };
  let serial = 0;

  const define = (name, figure) => {
    const tag = `fig-${name}`;
    figures[name] = figure;
    const defaults = Object.fromEntries(figure.controls.map((control) => [control.name, control.value]));
    class MovingFigure extends HTMLElement {
      connectedCallback() {
        if (this.drawn) return;
        this.drawn = true;
        const id = `${tag}${serial++}`;
        const input = ({ name, label, least, most, step, choices, value }) => {
          if (choices) return `<span><label for="${id}${name}">${label}</label> <select id="${id}${name}" name="${name}">${Object.entries(choices).map(([value, text]) => `<option value="${value}">${text}</option>`).join("")}</select></span>`;
          if (typeof value === "boolean") return `<span class="fig-switch"><label><input type="checkbox" name="${name}"> ${label}</label></span>`;
          return `<span><label for="${id}${name}">${label}: <output name="${name}Out"></output></label><input id="${id}${name}" name="${name}" type="range" min="${least}" max="${most}" step="${step}"></span>`;
        };
        this.innerHTML = `<p class="fig-label"><strong>${figure.kind}</strong> ${figure.label}</p>
          <details class="fig-predict"><summary>Predict first: ${figure.question}</summary><p>${figure.answer}</p></details>
          <div class="fig-drawing"></div><form>${figure.controls.map(input).join("")}<button type="button" class="md-button" name="reset">Start again</button></form>
          <p class="fig-report" aria-live="polite"></p>`;
        this.form = this.querySelector("form");
        this.state = this.read();
        this.form.addEventListener("submit", (event) => event.preventDefault());
        this.form.addEventListener("input", ({ target }) => {
          this.state[target.name] = target.type === "checkbox" ? target.checked : target.tagName === "SELECT" ? target.value : Number(target.value);
          this.update();
        });
        this.form.elements.reset.addEventListener("click", () => { this.state = { ...defaults }; this.update(); });
        this.pointer(this.querySelector(".fig-drawing"));
        this.update(false);
        if (location.hash.startsWith(`#${tag}:`)) {
          const go = () => this.scrollIntoView();
          if (document.documentElement.dataset.math === "ready") go(); else document.addEventListener("course:math", go, { once: true });
        }
        this.dataset.ready = "yes";
      }
      // A tap on what has data-toggle="name" turns that switch; a figure with drag(x, y, state) says what a finger at (x, y) changes.
      pointer(box) {
        const at = ({ clientX, clientY }) => {
          const svg = box.querySelector("svg"), { x, y } = new DOMPoint(clientX, clientY).matrixTransform(svg.getScreenCTM().inverse());
          this.state = this.within({ ...this.state, ...figure.drag(x, y, this.state) });
          this.update();
        };
        box.addEventListener("click", ({ target }) => {
          const { toggle } = target.closest("[data-toggle]")?.dataset ?? {};
          if (toggle) { this.state[toggle] = !this.state[toggle]; this.update(); }
        });
        if (!figure.drag) return;
        box.classList.add("fig-draggable");
        box.addEventListener("pointerdown", (event) => { box.setPointerCapture(event.pointerId); at(event); });
        box.addEventListener("pointermove", (event) => { if (box.hasPointerCapture(event.pointerId)) at(event); });
      }
      within(given) {                                              // a state in which every control has a value it can have
        return Object.fromEntries(figure.controls.map(({ name, value, least, most, step, choices }) => {
          if (choices) return [name, Object.hasOwn(choices, given[name] ?? "") ? given[name] : value];
          if (typeof value === "boolean") return [name, ["true", true].includes(given[name] ?? value)];
          const number = Number(given[name]);
          if (given[name] === undefined || !Number.isFinite(number)) return [name, value];
          return [name, Number(Math.min(Math.max(least + Math.round((number - least) / step) * step, least), most).toFixed(6))];
        }));
      }
      read() {
        return this.within(location.hash.startsWith(`#${tag}:`) ? Object.fromEntries(new URLSearchParams(location.hash.slice(tag.length + 2))) : {});
      }
      update(write = true) {
        const { elements } = this.form;
        for (const { name, value, choices, shown, when } of figure.controls) {
          if (when) elements[name].closest("span").hidden = !when(this.state);
          if (typeof value === "boolean") { elements[name].checked = this.state[name]; continue; }
          elements[name].value = this.state[name];
          if (choices) continue;
          const text = shown ? shown(this.state[name]) : String(this.state[name]);
          elements[`${name}Out`].value = text;
          elements[name].setAttribute("aria-valuetext", text);
        }
        const result = figure.compute(this.state, this.dataset), report = figure.report(result, this.state);
        this.querySelector(".fig-report").textContent = report;
        const drawing = figure.draw(result, this.state, this);
        drawing.setAttribute("role", "img");
        drawing.setAttribute("aria-label", report);
        this.querySelector(".fig-drawing").replaceChildren(drawing);
        if (write) try { history.replaceState(history.state, "", `#${tag}:${new URLSearchParams(this.state)}`); } catch { /* some browsers refuse */ }
      }
    }
    if (!customElements.get(tag)) customElements.define(tag, MovingFigure);
  };

  // The scripts of the figures on this page that are not there yet.
  const load = (name) => figures[name] ? Promise.resolve() : new Promise((done, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src: `${home}${name}.js`, onload: done, onerror: () => failed(new Error(`${script.src} could not be loaded`)) });
    document.head.append(script);
  });
  const page = () => document.querySelectorAll(".moving > :not(:defined)").forEach((element) => load(element.localName.slice(4)));
  window.courseFigures = { define, draw, COLOURS, figures, load };
  page();
  document.addEventListener("course:math", page);
})();
