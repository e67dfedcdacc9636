"""The `course` command. Each command imports what it needs when it runs, so that `course --help` stays quick."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(name="course", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Diffusion models, with nothing taken on trust.")


@app.callback()
def _root() -> None:
    pass


@app.command(context_settings={"allow_extra_args": True})
def render(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the picture should show.")],
    model: Annotated[str, typer.Option(help="emoji, a folder, or a hub id: CompVis/stable-diffusion-v1-4")] = "emoji",
    sampler: Annotated[str, typer.Option(help="A name: `course samplers` lists them all",
                                         show_default="dpmpp_2m; flow_euler for a flow")] = "",
    engine: Annotated[str, typer.Option(help="course: our samplers; diffusers: StableDiffusionPipeline")] = "course",
    compare: Annotated[bool, typer.Option("--compare", help="Both engines, side by side.")] = False,
    nets: Annotated[str, typer.Option(help="Whose networks hold the weights: diffusers, or course (readable, course/nets)")] = "diffusers",
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 50,
    guidance: Annotated[float, typer.Option(help="Guidance scale; 1 is none.")] = 7.5,
    negative: Annotated[str, typer.Option(help="What the picture should not show.")] = "",
    seed: Annotated[list[int] | None, typer.Option(help="One or several: --seed 1 2 3. Default: 42")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels. Default: the model's own")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels. Default: the model's own")] = None,
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, float16 or bfloat16")] = "auto",
    out: Annotated[Path, typer.Option(help="The picture. Several seeds: a grid, NAME-SEED.png beside.")] = Path("out/render.png"),
    mine: Annotated[bool, typer.Option("--mine", help="With your own functions from exercises/, wherever they pass their checks.")] = False,
    part: Annotated[list[str] | None, typer.Option(help="With --mine: only this function of yours, such as resnet_block; repeat for more")] = None,
    each: Annotated[bool, typer.Option("--each", help="With --mine: how far from the course's picture after each of your functions")] = False,
    trace: Annotated[Path | None, typer.Option(help="Also draw a strip of the denoising into this file.")] = None,
) -> None:
    """Render a prompt, with a sampler from this course or with diffusers' own."""
    from course.render import Recipe, render_to_files

    try:
        seeds = [*(seed or []), *map(int, context.args)] or [42]      # --seed 1 2 3: the last two arrive as left-over arguments
    except ValueError:
        raise typer.BadParameter(f"unexpected: {' '.join(context.args)} (a prompt of several words needs quotes)") from None
    recipe = Recipe(prompt, model, sampler, steps, guidance, negative, seeds, height, width, device, dtype, nets)
    if mine:
        from course.grading.mine import render_mine_to_files

        if engine != "course" or trace or nets != "diffusers":
            raise typer.BadParameter("--mine goes with neither --engine diffusers nor --nets nor --trace")
        recipe = Recipe(prompt, model, sampler or Recipe.sampler, steps, guidance, negative, seeds, height, width, device, dtype, nets)
        return _or_fail(lambda: render_mine_to_files(recipe, out, compare, only=part, each=each))
    if part or each:
        raise typer.BadParameter("--part and --each go with --mine")
    _or_fail(lambda: render_to_files(recipe, out, engine, compare, trace))


@app.command()
def edit(
    picture: Annotated[Path, typer.Argument(help="The picture to change. Its sides must be multiples of 8.")],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What it should show afterwards.")],
    mask: Annotated[Path | None, typer.Option(help="A picture of the same size, white where it may change: inpainting")] = None,
    strength: Annotated[float, typer.Option(help="0 keeps the picture, 1 forgets it")] = 0.7,
    model: Annotated[str, typer.Option(help="emoji, a folder, or a hub id")] = "emoji",
    sampler: Annotated[str, typer.Option(help="One of our samplers, as for render")] = "ddim",
    steps: Annotated[int, typer.Option(help="Steps of the whole grid; strength says how many are walked")] = 50,
    guidance: Annotated[float, typer.Option(help="Guidance scale; 1 is none")] = 7.5,
    negative: Annotated[str, typer.Option(help="What it should not show")] = "",
    seed: Annotated[int, typer.Option(help="Of the noise")] = 42,
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu")] = "auto",
    out: Annotated[Path, typer.Option(help="The changed picture")] = Path("out/edit.png"),
) -> None:
    """Change a picture: img2img, or inpainting with --mask."""
    from course.render import Recipe, edit_file

    recipe = Recipe(prompt, model, sampler, steps, guidance, negative, [seed], device=device)
    _or_fail(lambda: edit_file(picture, recipe, out, mask, strength))


@app.command()
def samplers() -> None:
    """The names of all samplers: what each is called elsewhere, its model calls, and diffusers' class."""
    from course.samplers import SAMPLERS, WALKS

    every: dict[str, Any] = {**SAMPLERS, **WALKS}
    for name, sampler in every.items():
        print(f"{name:16} {sampler.calls:8} {sampler.theirs:32} {', '.join(dict.fromkeys((sampler.title, *sampler.also)))}")


@app.command()
def observe(
    sampler: Annotated[list[str] | None, typer.Option(help="Only this one; repeat for several")] = None,
    config: Annotated[list[str] | None, typer.Option(help="Only this config; repeat for several")] = None,
    steps: Annotated[list[int] | None, typer.Option(show_default="1, 2, 3, 7, 10, 25, 50, 100")] = None,
    out: Annotated[Path | None, typer.Option(help="A CSV of every comparison; a run that was stopped goes on from it")] = None,
) -> None:
    """Every sampler beside the installed diffusers, on configs of public models. Exit status 1 when a difference is not explained."""
    status = 0

    def work() -> None:
        nonlocal status
        from course.observe import report

        status = report(sampler or [], config or [], steps or [], out)

    _or_fail(work)
    raise typer.Exit(status)


@app.command()
def doctor() -> None:
    """What this machine can run, and what to do about what it cannot."""
    from course.doctor import report

    raise typer.Exit(report())


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(metavar="[TASK|CHAPTER|TRACK]...", help="ch03.add_noise, ch03, builder or nothing for all")] = None,
    seed: Annotated[int, typer.Option(help="Draw other random inputs.")] = 0,
) -> None:
    """How far your exercises are: points, and what is wrong with what fails."""
    from course.grading import progress
    from course.grading.assignment import asked_here
    from course.grading.manifest import REPOSITORY

    status = 0

    def work() -> None:
        nonlocal status
        status = progress.check(names or asked_here(REPOSITORY), seed=seed)

    _or_fail(work)
    raise typer.Exit(status)


@app.command()
def hint(
    name: Annotated[str | None, typer.Argument(metavar="[TASK]", help="A task; without it, the one that comes next.")] = None,
    again: Annotated[bool, typer.Option("--again", help="From the first hint on.")] = False,
) -> None:
    """One more hint for a task, a little clearer each time."""
    from course.grading import progress

    _or_fail(lambda: progress.hint(name, again))


@app.command()
def compare(name: Annotated[str, typer.Argument(metavar="TASK", help="ch03.add_noise")]) -> None:
    """The course's own code for a task, once yours passes."""
    from course.grading.compare import compare

    _or_fail(lambda: compare(name))


@app.command()
def watch(
    names: Annotated[list[str] | None, typer.Argument(metavar="[TASK|CHAPTER]...", help="ch03.add_noise, ch03 or nothing for all")] = None,
) -> None:
    """Check your exercises whenever you save one; q quits."""
    from course.grading import progress

    _or_fail(lambda: progress.watch(names or []))


@app.command()
def grade(
    paths: Annotated[list[Path] | None, typer.Argument(metavar="PATH...", help="Folders, git checkouts, .zip or .tar files")] = None,
    format: Annotated[str, typer.Option(help="native, gradescope, classroom50, github, junit, csv, markdown or html")] = "native",
    out: Annotated[Path | None, typer.Option(help="A file; for several submissions a folder (default: grades)")] = None,
    jobs: Annotated[int, typer.Option(help="Processes that grade at the same time; -1: one for each core")] = 1,
    seed: Annotated[int | None, typer.Option(help="Of the random inputs; without it a new one for each submission")] = None,
    checks: Annotated[Path | None, typer.Option(help="The folder of checks and manifests (default: tests/exercises)")] = None,
    dask: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Grade on the workers of this Dask scheduler")] = None,
    again: Annotated[bool, typer.Option("--again", help="Grade those that have a result already, too")] = False,
    only: Annotated[list[str] | None, typer.Option(metavar="TASK|CHAPTER", help="Nothing but these; repeat for several")] = None,
    assignment: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Tasks, points and deadline of an assignment")] = None,
    regrade: Annotated[list[str] | None, typer.Option(metavar="TASK|CHAPTER", help="Run these again; other results are kept")] = None,
    accept_weak_isolation: Annotated[str, typer.Option(metavar="WORDS", help="What may stay open: the refusal's words")] = "",
    prose: Annotated[Path | None, typer.Option(metavar="DIR", help="Collect prose for people to read there, and take in their points")] = None,
) -> None:
    """Grade submissions, each function of them in a confined process. Exit status 0 when grading ran, whatever the score."""
    from course.grading import command

    raise typer.Exit(command.grade(paths or [], format, out, jobs, seed, checks, dask, again, accept_weak_isolation,
                                  prose, only or (), assignment, regrade or ()))


@app.command("class")
def class_(
    folder: Annotated[Path, typer.Argument(metavar="GRADES", help="The folder that `course grade` wrote")],
    roster: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Columns id, name, and if you like mail and pattern")] = None,
    assignment: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Its deadline, late rule and extensions")] = None,
) -> None:
    """A class at a glance: class.html, items.csv; with a roster marks, who is missing, and files for Canvas, Moodle, Blackboard."""
    def work() -> None:
        from course.grading.assignment import read_assignment, read_roster
        from course.grading.classroom import write_class

        files, said = write_class(folder, read_roster(roster) if roster else (), read_assignment(assignment) if assignment else None)
        print("\n".join([*said, *map(str, files.values())]))

    _or_fail(work)


@app.command()
def exam(
    seed: Annotated[int, typer.Option(help="Another seed, another paper, equally hard")],
    tasks: Annotated[int, typer.Option(help="Questions: formulas, numbers and code in turn")] = 6,
    out: Annotated[Path, typer.Option(help="The folder for paper.html, key.json and answers.toml")] = Path("out/exam"),
    pdf: Annotated[bool, typer.Option("--pdf", help="Print paper.pdf, too, with the Chromium or Chrome of this machine")] = False,
    mark: Annotated[list[Path] | None, typer.Option(metavar="ANSWERS.toml", help="Mark filled-in forms instead; repeat for several")] = None,
) -> None:
    """Write an exam with its key, or mark the answers to one. Every right line is proved, every wrong one refuted."""
    def work() -> None:
        from course.grading.exam import marks_of, write_exam

        print(marks_of(mark, seed, tasks) if mark else "\n".join(map(str, write_exam(out, seed, tasks, pdf))))

    _or_fail(work)


@app.command()
def show(
    report: Annotated[Path, typer.Argument(metavar="REPORT.json", help="What `course grade` wrote")],
    format: Annotated[str, typer.Option(help="gradescope, classroom50, github, junit, csv, markdown or html")] = "markdown",
    out: Annotated[Path | None, typer.Option(help="A file (default: standard output)")] = None,
) -> None:
    """Write a report in another format, without grading again."""
    from course.grading.command import show as write_report

    _or_fail(lambda: write_report(report, format, out))


@app.command()
def collect(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Git repositories: folders or URLs")],
    out: Annotated[Path, typer.Option(help="The folder for NAME.tar and collected.csv; the same one every time")] = Path("collected"),
    deadline: Annotated[str | None, typer.Option(help="'2026-11-30 23:59 +0100'; without it what is there now")] = None,
    pushes: Annotated[Path | None, typer.Option(metavar="FILE", help="What `gh api repos/OWNER/NAME/activity` printed")] = None,
    trust_commit_dates: Annotated[bool, typer.Option("--trust-commit-dates", help="Believe the student's clock, if there is no other")] = False,
) -> None:
    """Take git repositories as they stood at a deadline, running nothing of theirs. Exit status 1 if something was not collected."""
    from course.grading.collect import command

    status = 0

    def work() -> None:
        nonlocal status
        status = command(sources, out, deadline, pushes, trust_commit_dates)

    _or_fail(work)
    raise typer.Exit(status)


@app.command()
def release(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder")],
    order: Annotated[str | None, typer.Option(metavar="WORD", help="Put the options of choices in the order of this word")] = None,
) -> None:
    """Write the student edition: stubs, public checks, hints and docs; no solutions, no wrong answers, no hidden checks."""
    from course.grading.manifest import REPOSITORY
    from course.grading.release import edition
    from course.grading.release import release as write_edition

    def work() -> None:
        print(f"{write_edition(folder, order=order)} files in {folder}")
        if unknown := edition(REPOSITORY)[1]:
            print(f"left out, since git does not know them: {', '.join(map(str, unknown[:10]))}{' ...' if len(unknown) > 10 else ''}", file=sys.stderr)

    _or_fail(work)


@app.command()
def sweep(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE.toml]", help=r"Prompts, seeds and \[\[grid]] tables; or use the options")] = None,
    out: Annotated[Path, typer.Option(help="The results folder; run again to go on where it stopped")] = Path("out/sweep"),
    model: Annotated[list[str] | None, typer.Option(help="emoji, a folder or a hub id; repeat any option for several values")] = None,
    vae: Annotated[list[str] | None, typer.Option(help="Another VAE ('' for the model's own)")] = None,
    text_encoder: Annotated[list[str] | None, typer.Option(help="Another text encoder ('' for the model's own)")] = None,
    engine: Annotated[list[str] | None, typer.Option(help="course or diffusers")] = None,
    sampler: Annotated[list[str] | None, typer.Option(help="Names: `course samplers` lists them all")] = None,
    steps: Annotated[list[int] | None, typer.Option(help="Sampling steps")] = None,
    guidance: Annotated[list[float] | None, typer.Option(help="Guidance scale; 1 is none")] = None,
    height: Annotated[list[int] | None, typer.Option(help="Pixels")] = None,
    width: Annotated[list[int] | None, typer.Option(help="Pixels")] = None,
    nets: Annotated[list[str] | None, typer.Option(help="Whose networks: diffusers or course")] = None,
    seed: Annotated[list[int] | None, typer.Option(show_default="42, 70")] = None,
    prompt: Annotated[list[str] | None, typer.Option(help="A prompt")] = None,
    scenes: Annotated[int, typer.Option(help="So many prompts of the emoji world, always the same ones")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Pictures rendered together")] = 16,
    jobs: Annotated[int, typer.Option(help="Processes")] = 1,
    dask: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Render on the workers of this Dask scheduler")] = None,
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu")] = "auto",
) -> None:
    """Render every combination of settings for the same prompts and seeds. Never repeats or loses a picture."""
    def work() -> None:
        from course.lab import sweep as lab

        if file:
            settings, prompts, seeds = lab.from_toml(file)
        else:
            lists = {"model": model, "vae": vae, "text_encoder": text_encoder, "engine": engine, "sampler": sampler,
                     "steps": steps, "guidance": guidance, "height": height, "width": width, "nets": nets}
            settings = lab.grid(**{name: values for name, values in lists.items() if values})
            prompts, seeds = [*(prompt or []), *lab.scene_prompts(scenes)], seed or [42, 70]
            if not prompts:
                raise ValueError("nothing to render: give --prompt TEXT or --scenes N (or a sweep file)")
        _sweep_and_say(out, settings, prompts, seeds, batch, jobs, dask, device)
        print(f"next: course report {out}")

    _or_fail(work)


@app.command()
def report(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The results folder of a sweep")]) -> None:
    """Measure a sweep and write report.html and report.md into its folder."""
    def work() -> None:
        from course.lab.report import write

        html, markdown = write(folder)
        print(f"{html}\n{markdown}")

    _or_fail(work)


lab_commands = typer.Typer(no_args_is_help=True, help="Experiments: the original homework's, edits, guidance, flows.")
app.add_typer(lab_commands, name="lab")


@lab_commands.callback()
def _lab() -> None:
    pass


@lab_commands.command()
def homework(
    model: Annotated[str, typer.Option(help="emoji, a folder, or a hub id: CompVis/stable-diffusion-v1-4")] = "emoji",
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu")] = "auto",
    out: Annotated[Path, typer.Option(help="The results folder")] = Path("out/homework"),
    scenes: Annotated[int, typer.Option(help="More prompts to measure on, for the emoji model")] = 21,
    full: Annotated[bool, typer.Option("--full", help="Every sampler x steps x guidance, not one at a time")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Pictures rendered together")] = 16,
    jobs: Annotated[int, typer.Option(help="Processes")] = 1,
) -> None:
    """The whole assignment: samplers, steps, guidance, swapped parts, at seeds 42 and 70; ends with the report."""
    def work() -> None:
        from course.lab import homework as assignment
        from course.lab.report import write

        _sweep_and_say(out, assignment.settings(model, full), assignment.prompts(model, scenes), assignment.SEEDS, batch, jobs,
                       None, device)
        html, markdown = write(out)
        print(f"{html}\n{markdown}")

    _or_fail(work)


@lab_commands.command()
def edits(
    scenes: Annotated[int, typer.Option(min=1, help="Drawn scenes to edit")] = 200,
    out: Annotated[Path, typer.Option(help="The table, as CSV")] = Path("out/edits.csv"),
) -> None:
    """Does an edit do what it was asked? Eleven ways to exchange an object, each on the same drawn scenes."""
    def work() -> None:
        from course.render import quiet_libraries

        quiet_libraries()
        from course.lab import experiments

        print(experiments.write_table(experiments.edits(scenes), out))

    _or_fail(work)


@lab_commands.command()
def guidance(
    prompts: Annotated[int, typer.Option(min=1, help="Captions")] = 24,
    seeds: Annotated[int, typer.Option(min=2, help="Pictures of each")] = 4,
    out: Annotated[Path, typer.Option(help="The table, as CSV")] = Path("out/guidance.csv"),
) -> None:
    """Which kinds of guidance differ beyond noise? All at equal calls, with the same noise."""
    def work() -> None:
        from course.render import quiet_libraries

        quiet_libraries()
        from course.lab import experiments

        print(experiments.write_table(experiments.guidance(prompts, seeds), out))

    _or_fail(work)


@lab_commands.command()
def flows(
    prompts: Annotated[int, typer.Option(min=1, help="Captions")] = 24,
    seeds: Annotated[int, typer.Option(min=2, help="Pictures of each")] = 4,
    out: Annotated[Path, typer.Option(help="The table, as CSV")] = Path("out/flows.csv"),
) -> None:
    """The flow-trained U-Net beside the one that answers noise, at equal calls."""
    def work() -> None:
        from course.render import quiet_libraries

        quiet_libraries()
        from course.lab import experiments

        print(experiments.write_table(experiments.flows(prompts, seeds), out))

    _or_fail(work)


@lab_commands.command()
def trained(
    steps: Annotated[int, typer.Option(min=1, help="Steps of training for each of two U-Nets")] = 300,
    reflow_steps: Annotated[int | None, typer.Option(min=1, help="Steps of the reflow", show_default="as many")] = None,
    from_nothing: Annotated[bool, typer.Option("--from-nothing", help="Not from the shipped U-Net; needs thousands of steps")] = False,
    runs: Annotated[Path, typer.Option(help="Checkpoints: a run that was stopped goes on from them")] = Path("runs/trained"),
    out: Annotated[Path, typer.Option(help="The table, as CSV")] = Path("out/trained.csv"),
    threads: Annotated[int, typer.Option(help="0: as many as cores")] = 0,
) -> None:
    """Noise or velocity at equal training; and one step of reflow. Trains three U-Nets."""
    def work() -> None:
        from course.render import quiet_libraries

        quiet_libraries()
        import torch

        from course.lab.experiments import write_table
        from course.lab.trained import trained as run

        if threads:
            torch.set_num_threads(threads)
        print(write_table(run(steps, runs, reflow_steps, from_nothing), out))

    _or_fail(work)


@lab_commands.command()
def cite(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The results folder of a sweep")],
    file: Annotated[Path, typer.Option(help="Your write-up")] = Path("exercises/ch11_writeup.md"),
) -> None:
    """Put the rows that your claims speak of into your write-up."""
    def work() -> None:
        from course.lab.writeup import cite as put

        print(f"{put(folder, file)} rows cited in {file}; next: course check ch11.writeup")

    _or_fail(work)


def _sweep_and_say(out: Path, settings: Any, prompts: Any, seeds: Any, batch: int, jobs: int, dask: str | None,
                   device: str) -> None:
    from course.lab import sweep as lab

    total = len(settings) * len(prompts) * len(seeds)
    print(f"{len(settings)} settings x {len(prompts)} prompts x {len(seeds)} seeds = {total} pictures in {out}")
    added = lab.run(out, settings, prompts, seeds, batch=batch, jobs=jobs, dask=dask, device=device)
    print(f"{added} rendered now, {total - added} were there already")


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="emoji")],
    stage: Annotated[list[str] | None, typer.Option(help="autoencoder, denoiser, probe, tiny, bert, flow, dit or classifier; repeat for several",
                                                    show_default="all")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time for all stages together", show_default="130")] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of minutes: steps for each stage")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints in --out")] = False,
    from_shipped: Annotated[bool, typer.Option("--from-shipped", help="Start from the shipped weights instead of nothing")] = False,
    evaluate: Annotated[bool, typer.Option("--evaluate", help="Train nothing: measure, write the model card")] = False,
    out: Annotated[Path, typer.Option(help="Checkpoints, logs and samples")] = Path("runs/emoji"),
    weights: Annotated[Path | None, typer.Option(help="The model folder to write or to measure",
                                                  show_default="OUT/weights to write; what ships to measure")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random")] = 0,
    threads: Annotated[int, typer.Option(help="0: as many as cores")] = 0,
) -> None:
    """Train the small Stable Diffusion from nothing, or measure it. Ctrl-C saves; --resume goes on exactly."""
    def work() -> None:
        if model != "emoji":
            raise ValueError(f"the only model to train is emoji, not {model!r}")
        from course.render import quiet_libraries

        quiet_libraries()                               # before the import below makes diffusers speak of what it lacks
        from course.emoji.train import STAGES
        from course.emoji.train import train as run

        if evaluate:
            from course.lab.evaluate import evaluate_and_write

            print(evaluate_and_write(weights, out, threads))
        else:
            run(out, weights, stage or STAGES, 130.0 if minutes is None and steps is None else minutes, steps, seed, resume,
                from_shipped, threads)

    _or_fail(work)


def _or_fail(work: Callable[[], Any]) -> None:
    """Do a command's work; what its user can mend ends it with one line on stderr and exit status 1."""
    try:
        work()
    except (ValueError, OSError, ArithmeticError, MemoryError) as error:
        print(f"course: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


@app.command()
def prove(
    statement: Annotated[str, typer.Argument(metavar="LATEX|FILE", help="A statement or derivation in LaTeX, a file of it, or - for stdin")],
    setting: Annotated[str, typer.Option(help="vae, hvae, chain, diffusion or gaussian, or a TOML file: what p, q and the variables are")] = "vae",
    json_: Annotated[bool, typer.Option("--json", help="Print everything that is known as JSON")] = False,
    evidence: Annotated[Path | None, typer.Option(help="Write what the verdict rests on; python kernel.py FILE re-checks it")] = None,
    tree: Annotated[bool, typer.Option("--tree", help="Print how the formula was read, as a tree")] = False,
) -> None:
    """Is it true? Exit status: 0 identity, bound or definition, 1 refuted, 2 undecided, outside (or a bad call), 3 unreadable."""
    from course.equations.command import run
    from course.grading.manifest import CHECKS
    from course.grading.written import asked_in

    raise typer.Exit(run(statement, setting, json_, evidence, tree, lambda latex, where: asked_in(latex, where, CHECKS / "answers")))


@app.command("check-docs")
def check_docs(paths: Annotated[list[Path] | None, typer.Argument(help="Folders or Markdown pages", show_default="docs")] = None) -> None:
    """Judge every displayed formula of the documentation. Exit status: 0 all accepted, 1 not all, 2 a bad call."""
    from course.equations.pages import main as check

    raise typer.Exit(check([str(p) for p in paths or [Path("docs")]]))


def main() -> None:
    """Run the command; Ctrl-C ends with exit status 130 and no traceback."""
    try:
        app()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
