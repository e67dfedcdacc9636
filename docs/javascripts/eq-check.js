// <eq-check>: the judge of course.equations in the page (judge-worker.mjs), the verdict of `course prove`. With data-task it is the block of a
// written task, and answers as `course check` does. <eq-hand-in>: the file of exercises with what was written in the boxes, to keep and to
// hand in. One worker serves all boxes.
(() => {
  "use strict";
  const here = document.currentScript.src, base = new URL("../assets/", here).href;
  let worker = null, last = 0, serial = 0;
  const waiting = new Map();
  // question: {latex, setting} or {task, draft, setting} -> promise of {kind, text, milliseconds}; several may wait, they are answered in order
  const ask = (question) => new Promise((done, failed) => {
    if (!worker) {
      worker = new Worker(new URL("judge-worker.mjs", here), { type: "module" });
      worker.onmessage = ({ data }) => {
        const each = waiting.get(data.id);
        waiting.delete(data.id);
        data.error === undefined ? each?.done(data) : each?.failed(new Error(data.error));
      };
      worker.onerror = (event) => { waiting.forEach((each) => each.failed(new Error(event.message || "the judge could not be loaded"))); waiting.clear(); worker = null; };
    }
    waiting.set(++last, { done, failed });
    worker.postMessage({ id: last, base, ...question });
  });
  const judge = (latex, setting) => ask({ latex, setting }), grade = (task, draft, setting) => ask({ task, draft, setting });
  const stop = () => { worker?.terminate(); worker = null; waiting.forEach((each) => each.failed(new Error("stopped"))); waiting.clear(); };
  window.courseJudge = { judge, grade, stop };

  const WORDS = { identity: "proved: both sides are equal", bound: "proved: the inequality always holds", refuted: "refuted", undecided: "undecided", unreadable: "cannot be read",
    definition: "a definition: it claims nothing", outside: "about something that is not declared", passed: "Right", failed: "Not yet", not_attempted: "Not attempted" };

  class EqCheck extends HTMLElement {
    connectedCallback() {
      if (this.drawn) return;
      this.drawn = true;
      const id = `eq${serial++}`;
      if (this.dataset.reason || location.protocol === "file:") {
        this.innerHTML = "<p></p>";
        this.firstChild.textContent = this.dataset.reason || "Opened from a folder, a browser runs no judge. On a web server it does; or use course prove.";
        return;
      }
      const settings = (this.dataset.settings || "vae hvae chain diffusion gaussian").split(" ");
      const task = this.dataset.task, line = !task || this.dataset.kind === "latex";
      this.innerHTML = `<form>
        <label for="${id}t">${task ? "Your answer" : "A line or a derivation, in LaTeX"}</label><textarea id="${id}t" name="latex" rows="4" maxlength="20000" spellcheck="false"></textarea>
        <span${line ? "" : " hidden"}><label for="${id}s">Setting</label> <select id="${id}s" name="setting">${settings.map((each) => `<option>${each}</option>`).join("")}</select>
        <button type="submit" class="md-button${task ? "" : " md-button--primary"}"></button></span> <button type="button" name="check" class="md-button md-button--primary"${task ? "" : " hidden"}></button> <button type="button" name="stop" class="md-button" hidden>Stop</button>
        <p class="eq-status" role="status"></p><div class="eq-shown" hidden></div><pre class="eq-verdict" tabindex="0" hidden></pre></form>`;
      this.form = this.querySelector("form");
      const { latex, setting } = this.form.elements;
      latex.value = this.getAttribute("latex") ?? "";
      const given = location.hash.startsWith("#judge:") ? Object.fromEntries(new URLSearchParams(location.hash.slice(7))) : {};
      if (given.latex) latex.value = given.latex.slice(0, 20000);
      setting.value = [given.setting, this.getAttribute("setting"), settings[0]].find((each) => settings.includes(each));
      if (given.latex) document.addEventListener("course:math", () => this.scrollIntoView(), { once: true });
      if (this.dataset.keep) {                                   // the reader's own draft, on the reader's own machine
        const name = `draft ${this.dataset.keep}`;
        try { latex.value = localStorage.getItem(name) ?? latex.value; } catch { /* private window */ }
        latex.addEventListener("input", () => { try { localStorage.setItem(name, latex.value); } catch { /* full, or private */ } });
      }
      this.button();
      this.form.addEventListener("submit", (event) => { event.preventDefault(); this.ask(!line); });
      this.form.elements.check.addEventListener("click", () => this.ask(true));
      this.form.elements.stop.addEventListener("click", stop);
      latex.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); this.ask(); } });
      this.dataset.ready = "yes";
    }
    button() {
      const size = (bytes) => `${(Number(bytes) / 1e6).toFixed(0)} MB`, load = `${size(this.dataset.bytes)}; ${size(this.dataset.more)} more for gaussian`;
      this.querySelector("button[type=submit]").textContent = worker ? "Judge" : `Load the judge (${load}) and judge`;
      this.form.elements.check.textContent = worker ? "Check" : `Load the checks (${load}) and check`;
    }
    async ask(check) {
      const { latex, setting, stop } = this.form.elements, status = this.querySelector(".eq-status"), verdict = this.querySelector(".eq-verdict");
      if (!latex.value.trim()) { status.textContent = "Write a line first."; latex.focus(); return; }
      status.textContent = worker ? "Judging ..." : "Loading the judge, once ...";
      stop.hidden = false;
      try {
        const found = await (check ? grade(this.dataset.task, latex.value, setting.value) : judge(latex.value, setting.value));
        status.textContent = `${WORDS[found.kind] ?? found.kind} · ${found.milliseconds.toFixed(0)} ms in this page`;
        verdict.textContent = found.text;
        verdict.hidden = false;
        this.dataset.found = found.kind;
        if (!check) this.draw(latex.value);
      } catch (error) {
        status.textContent = `It did not work: ${error.message}`;
        this.dataset.found = "failed to load";
      }
      stop.hidden = true;
      this.button();
    }
    async draw(latex) {                                           // the formula as others will see it
      const box = this.querySelector(".eq-shown"), text = latex.trim().replace(/^\$\$|\$\$$/g, "");
      await window.courseMath();
      try { await window.courseKatex(); katex.render(text, box, { displayMode: true, throwOnError: true, strict: "ignore" }); box.hidden = false; } catch { box.hidden = true; }
    }
  }
  // The file with each block that has a box on this page, or was written into earlier, filled in; remarks (%) stay.
  const filled = (template, draft) => template.replace(/^(```\w+ (ch\d\d\.\w+)\n)([^]*?)(^```$)/gm, (whole, head, task, body, end) => {
    const text = draft(task)?.replace(/^(\s*)(`{3,}|~{3,})/gm, "$1").trim();
    return text ? `${head}${body.split("\n").filter((each) => each.trimStart().startsWith("%")).map((each) => `${each}\n`).join("")}${text}\n${end}` : whole;
  });
  const draft = (task) => {
    const box = document.querySelector(`eq-check[data-task="${task}"] textarea`);
    if (box) return box.value;
    try { return localStorage.getItem(`draft ${task}`); } catch { return null; }
  };
  class HandIn extends HTMLElement {
    connectedCallback() {
      if (this.drawn) return;
      this.drawn = true;
      const button = Object.assign(document.createElement("button"), { type: "button", className: "md-button", textContent: `Download ${this.dataset.file} with these answers` });
      button.addEventListener("click", () => {
        const link = Object.assign(document.createElement("a"), { download: this.dataset.file, href: URL.createObjectURL(new Blob([filled(this.dataset.text, draft)], { type: "text/markdown" })) });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      });
      this.replaceChildren(button);
    }
  }
  window.courseJudge.filled = filled;
  if (!customElements.get("eq-check")) { customElements.define("eq-check", EqCheck); customElements.define("eq-hand-in", HandIn); }
})();
