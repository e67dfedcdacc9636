// The judge of course.equations in a worker of its own: Pyodide, then the very Python files of the package. What a reader writes is passed
// as data and read by the judge's grammar; nothing of it is ever run.
let ready = null;
let algebra = false;
const fetched = async (url) => {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
  return answer.arrayBuffer();
};
const boot = async (base) => {
  const home = new URL("runtimes/pyodide/", base).href;
  const [{ loadPyodide }, archive] = await Promise.all([import(`${home}pyodide.mjs`), fetched(new URL("judge/judge.zip", base).href)]);
  const python = await loadPyodide({ indexURL: home, stdout: () => {}, stderr: () => {} });
  python.FS.mkdirTree("/judge");
  python.unpackArchive(archive, "zip", { extractDir: "/judge" });
  python.runPython("import sys; sys.path.insert(0, '/judge'); sys.setrecursionlimit(3000)");
  const [report, graded] = ["from course.equations.command import report; report", "from course.grading.written import graded; graded"].map((code) => python.runPython(code));
  return { python, report, graded };
};
// A line to judge (latex), or what stands in the block of a written task to check (task, draft).
self.onmessage = async ({ data: { id, base, latex, setting, task, draft } }) => {
  try {
    const { python, report, graded } = await (ready ??= boot(base));
    if (setting === "gaussian" && !algebra) {
      python.unpackArchive(await fetched(new URL("judge/algebra.zip", base).href), "zip", { extractDir: "/judge" });
      algebra = true;
    }
    if (latex === undefined && !task) { self.postMessage({ id, kind: "ready", text: "" }); return; }
    const start = performance.now(), answer = task ? graded(task, draft, "/judge/answers") : report(latex, setting);
    const [kind, text] = answer.toJs();
    answer.destroy();
    self.postMessage({ id, kind, text, milliseconds: performance.now() - start });
  } catch (error) {
    self.postMessage({ id, error: String(error.message ?? error).split("\n").filter(Boolean).at(-1) });
  }
};
