"""`infodistill generator train` and `infodistill generator show`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infodistill.commands.speaking import one_sentence, say, show

if TYPE_CHECKING:
    from infodistill.diffusion.fitting.generator_plan import GeneratorPlan
    from infodistill.real import RealData

generator = typer.Typer(
    help="Train a small diffusion model on your own data, or look at one.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@generator.command()
@one_sentence
def train(
    data: Annotated[str, typer.Option(help="The data to train on, as for distill.")],
    kind: Annotated[str | None, typer.Option(help="mlp, dit or unet.  [default: by image size]")] = None,
    latent: Annotated[
        bool | None,
        typer.Option("--latent/--pixels", help="Denoise latents of a VAE trained first, or pixels."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the denoiser in all, also with --resume.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time in all; without --steps as many steps as fit, by timed ones.")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting: drop=0.2, network.depth=6, autoencoder.steps=5000."),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Resize images of a folder to this many pixels.")] = None,
    skip_corrupt: Annotated[
        bool, typer.Option("--skip-corrupt", help="Leave out and count unreadable images.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Key of every draw.  [default: 0]")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="float32 or bf16.  [default: float32]")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the model.  [default: the cache, for `sample`]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in --out, or start it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen and what it costs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a class-conditional diffusion model that `infodistill sample` can draw sets from.

    Stops when the loss on a held-out part of the training data has not improved for a while, and keeps the best.

    Example: infodistill generator train --data digits --out models/digits
    """
    from infodistill.data import cache_dir, load_data
    from infodistill.data.noted import announce
    from infodistill.diffusion.fitting.generator_folder import cached_folder, finished, stored_plan
    from infodistill.diffusion.fitting.generators import train_generator
    from infodistill.files import require_writable
    from infodistill.progress import telling

    settings = _settings(set_ or [], {"steps": steps, "batch": batch, "lr": lr})
    real = load_data(data, size=size, skip_corrupt=skip_corrupt)
    plan = _plan(real, kind=kind, latent=latent, settings=settings, precision=precision or "float32", seed=seed or 0)
    folder = out or cached_folder(real, plan, cache_dir())
    if out is None and finished(folder) and not resume:
        say(f"there is one already: {folder} (delete it, or give --out, to train another)")
        return _told(folder, as_json)
    stored = stored_plan(folder)
    named = [] if out is None else [kind, latent]  # in the cache they say which
    if stored is not None:
        _check_resumed(folder, resume or out is None, settings, [*named, seed, precision])
    real = real.to(_device(folder, device, (stored or plan).denoising.fit.precision))
    plan = _budgeted(real, stored or plan, minutes, steps, planned_anew=stored is None)
    if dry_run:
        return _dry_run(real, plan, folder, as_json)
    require_writable(folder)
    announce(real, say)
    say(f"generator: {plan.name}, {plan.denoising.fit.steps} steps of {plan.denoising.batch} images, in {folder}")
    with telling() as tell:
        train_generator(real, folder, plan, device=real.device, tell=tell)
    _told(folder, as_json)


@generator.command("show")
@one_sentence
def show_(
    folder: Annotated[Path, typer.Argument(help="Folder of a model.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what a stored model is: its network, its classes, its licence, and how it was trained.

    Example: infodistill generator show models/digits
    """
    _told(folder, as_json)


def _settings(typed: list[str], flags: dict[str, Any]) -> dict[str, Any]:
    """What `--set` and the short flags change; a flag and a setting of the same name are a mistake."""
    from infodistill.recipe import settings

    told = settings(typed)
    given = {name: value for name, value in flags.items() if value is not None}
    if twice := sorted(set(told) & set(given)):
        raise ValueError(f"{twice[0]} is given twice: by --{twice[0]} and by --set")
    return {**told, **given}


def _check_resumed(folder: Path, resume: bool, settings: dict[str, Any], flags: list[Any]) -> None:
    """A training that was begun is continued on demand, and with the settings it was begun with."""
    if not resume:
        raise ValueError(f"{folder} holds a generator: give --resume to continue it, or another --out")
    if set(settings) - {"steps"} or any(flag is not None for flag in flags):
        raise ValueError("--resume takes --steps and --minutes and no other setting: the rest is as it was started")


def _device(folder: Path, device: str, precision: str) -> str:
    """Where to train. A training that was begun stays where it was, unless it is told otherwise."""
    from infodistill.compute.policy import resolve
    from infodistill.diffusion.fitting.generator_folder import stored_device

    then = stored_device(folder)
    if then is None or device != "auto":
        now = resolve(device, precision).device
        if then not in (None, now):
            say(f"the training was begun on {then} and goes on on {now}: as good, but not equal to the bit")
        return now
    try:
        return resolve(then, precision).device
    except ValueError as error:
        raise ValueError(
            f"the training was begun on {then} in {precision}, which is not here: give --device to go on elsewhere"
        ) from error


def _plan(real: RealData, **asked: Any) -> GeneratorPlan:
    """The plan of the flags; small networks run on one thread."""
    from infodistill.building.jobs import spare_threads
    from infodistill.diffusion.fitting.generator_plan import planned

    plan = planned(real, **asked)
    if plan.network["kind"] == "mlp" and plan.encoding is None:
        spare_threads(0.0)
    return plan


def _budgeted(
    real: RealData, plan: GeneratorPlan, minutes: float | None, steps: int | None, *, planned_anew: bool
) -> GeneratorPlan:
    """The plan with its totals: those of a stored one are kept unless others are given now."""
    from dataclasses import replace

    from infodistill.diffusion.fitting.generator_speed import step_seconds

    if steps is not None:
        plan = replace(plan, denoising=replace(plan.denoising, fit=replace(plan.denoising.fit, steps=steps)))
    if minutes is None:
        return plan
    if not 0 < minutes < math.inf:
        raise ValueError(f"--minutes must be positive, got {minutes}")
    fixed = steps is not None or not planned_anew
    return plan.within(minutes, {} if fixed else step_seconds(real, plan), steps=fixed)


def _told(folder: Path, as_json: bool) -> None:
    """The result, or the facts of a stored model."""
    from infodistill.diffusion.fitting.generator_folder import described
    from infodistill.progress import duration

    told = described(folder)
    if as_json:
        return show(told)
    trained = told.pop("training", None) or {}
    for name, value in told.items():
        if value is not None:
            print(f"{name.replace('_', ' '):15}{value}")
    for what, one in trained.items():
        best = "" if one["best"] is None else f", best validation loss {one['best']:.4g} at step {one['best_step']:,}"
        print(f"trained        {what}: {one['step']:,} steps in {duration(one['seconds'])}{best}")


def _dry_run(real: RealData, plan: GeneratorPlan, folder: Path, as_json: bool) -> None:
    from infodistill.diffusion.fitting.generator_speed import cost
    from infodistill.progress import duration

    told: dict[str, Any] = {"out": str(folder), "plan": plan.as_dict(), **cost(real, plan)}
    if as_json:
        return show(told)
    print(f"would read     {real.name}: {len(real)} images {real.shape}, {real.num_classes} classes")
    for what, one in told["trainings"].items():
        speed = f"{one['steps_per_second']:.2f} steps/s, {duration(one['seconds'])} at most"
        print(f"would train    {what}: {one['parameters']} parameters, {one['steps']} steps at {speed}")
    print(f"disk           {told['disk_bytes'] / 2**20:.1f} MiB")
    print(f"would write    {folder}")
