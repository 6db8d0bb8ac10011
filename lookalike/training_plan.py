"""The plan of a training as a person reads it: what `lookalike train --dry-run` prints."""

from typing import TYPE_CHECKING

from lookalike.console import say, show_table

if TYPE_CHECKING:
    from trainer.cost import Cost
    from trainer.plan import Plan


def show_plan(plan: "Plan") -> None:
    """Prints the plan on standard output."""
    say(
        f"{plan.parameters:,} parameters, {plan.trunk_parameters:,} of them in the trunk; {plan.feature_dim} features; "
        f"{plan.steps_per_epoch} steps an epoch, {plan.steps_per_epoch * plan.epochs:,} in all."
    )
    batch = sum(each.quota for each in plan.sets)
    sets = [
        (each.name, f"{each.photos:,}", each.quota, f"{each.quota / batch:.0%}", each.products or "", each.of_epoch)
        for each in plan.sets
    ]
    headings = ("dataset", "photos", "of each batch", "share", "products of it", "of each epoch")
    show_table(f"Batches of {batch} photos", headings, sets)
    heads = [
        (each.name, each.loss, each.on, f"{each.weight:g}", f"{each.classes:,}", f"{each.labelled:,}")
        for each in plan.heads
    ]
    pairs = sum(each.loss == "pairwise" for each in plan.heads)
    show_table(
        f"{len(heads)} losses: {len(heads) - pairs} by classes, {pairs} by pairs",
        ("task", "loss", "on", "weight", "classes", "labelled"),
        heads,
        text_columns=3,
    )
    if plan.validations:
        rows = [(each.dataset, each.queries, each.gallery, each.trained_on) for each in plan.validations]
        show_table("Validation", ("dataset", "queries", "gallery", "queries trained on"), rows)
    _show_cost(plan.cost, plan.ranks)


def _show_cost(cost: "Cost", ranks: int) -> None:
    total = sum(cost.memory.values())
    rows = [(name, _gigabytes(size)) for name, size in cost.memory.items()]
    show_table("Memory", ("for", "GB"), [*rows, ("in all", _gigabytes(total))])
    whose = "The process" if ranks == 1 else f"Each of {ranks} processes"
    say(
        f"{whose} needs that much for the {cost.photos} photos it has of a batch. The network takes "
        f"{cost.photos_per_second:.1f} photos/s here, {cost.photos / cost.photos_per_second:.1f} s a step; a worker "
        f"reads {cost.read_per_second:.0f} photos/s the first time."
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f}"
