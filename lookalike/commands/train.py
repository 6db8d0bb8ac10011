"""`lookalike train`: photos and labels -> a model directory, as a recipe says."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.telemetry import SILENT, Progress
from lookalike.console import progress, say, show_table
from lookalike.training_plan import show_plan

if TYPE_CHECKING:
    from trainer.export import Export
    from trainer.ranks import Ranks


@click.command("train")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder that the recipe's tables are in.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Model directory to write.")
@click.option("--weights", help='The trunk\'s weights: a safetensors file, "hub" or "none"; else as the recipe says.')
@click.option("--epochs", type=click.IntRange(min=1), help="Another number of epochs than the recipe's.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes that prepare photos; else by the cores.")
@click.option("--resume", is_flag=True, help="Go on where the training in --out was stopped; begin if there is none.")
@click.option("--tensorboard", type=click.Path(path_type=Path), help="Folder for TensorBoard's curves as well.")
@click.option("--dry-run", is_flag=True, help="Show what would be trained, and stop.")
@click.option("--export-only", is_flag=True, help="Write the model from the checkpoint in --out, and stop.")
def command(
    *,
    recipe: Path,
    data: Path,
    out: Path,
    weights: str | None,
    epochs: int | None,
    workers: int | None,
    resume: bool,
    tensorboard: Path | None,
    dry_run: bool,
    export_only: bool,
) -> None:
    """Train a model by RECIPE, a TOML file.

    A killed training goes on with --resume. The directory gets the model, checkpoint.pt, metrics.jsonl, curves.png and
    report.html, a page to look at; a model that was there is replaced at the end, and only if the new one proves equal
    to what was trained.

    Several processes share each batch where torchrun starts them: torchrun --nproc-per-node 8 -m lookalike train …
    """
    # before torch loads its OpenMP: threads that wait must not spin on cores that others need
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _require_torch()
    from trainer import training
    from trainer.machine import Machine
    from trainer.optimise import keep_freed_memory
    from trainer.plan import plan
    from trainer.ranks import joined
    from trainer.recipe import read_recipe, with_epochs

    parsed = read_recipe(recipe)
    if epochs is not None:
        parsed = with_epochs(parsed, epochs, str(recipe))
    keep_freed_memory()
    with joined() as ranks, _progress_of(ranks) as listener:
        machine = Machine.here(workers, ranks)
        if dry_run:
            planned = plan(parsed, data, machine, weights=weights)
            if ranks.leads:
                show_plan(planned)
            return
        if export_only and not ranks.leads:
            return
        if export_only:
            export: Export | None = training.export_only(parsed, data, out, progress=listener)
        else:
            export = training.train(
                parsed,
                data,
                out,
                weights=weights,
                resume=resume,
                tensorboard=tensorboard,
                machine=machine,
                progress=listener,
            )
    if export is not None:
        _show_export(export, out)


@contextmanager
def _progress_of(ranks: "Ranks") -> Iterator[Progress]:
    """Of processes that train together only the first one talks."""
    if not ranks.leads:
        yield SILENT
        return
    with progress() as listener:
        yield listener


def _show_export(export: "Export", out: Path) -> None:
    spec = export.model.spec
    for dataset, figures in spec.training["validation"].items():
        rows = [(label, f"{value:.4f}") for label, value in figures.items()]
        show_table(f"{dataset}, validation", ("label", "precision@1"), rows)
    say(
        f"{out} holds the model {spec.model_id[:12]}: {spec.dim} numbers a photo, {len(spec.heads)} "
        f"{'head' if len(spec.heads) == 1 else 'heads'}; "
        f"its ONNX and torch differ by at most {export.difference:.1e} on {export.photos} photos."
    )


def _require_torch() -> None:
    from importlib.util import find_spec

    from engine.errors import MissingPackage

    if any(find_spec(name) is None for name in ("torch", "torchvision", "timm", "onnx", "matplotlib")):
        raise MissingPackage(
            "Training needs torch and timm, which are not installed; run pip install 'lookalike[train]'."
        )
