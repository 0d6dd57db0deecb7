"""What Locust's options and classes make of the load beside the scenario. It is kept with a run, for a comparison must know."""

from __future__ import annotations

from collections.abc import Iterator

from locust.env import Environment

from hs_drill.scenario import Load

from ._user_stand_ins import HandlerSocketUser
from ._user_tasks import task_weights

__all__ = ["load_options"]


def load_options(environment: Environment, load: Load) -> str:
    """In words, as a run begins: what differs from the scenario, the users' classes and the weights of their tasks. Says
    nothing of classes if all users execute the mix. `none` if there is nothing to say."""
    return "; ".join(_parts(environment, load)) or "none"


def _parts(environment: Environment, load: Load) -> Iterator[str]:
    options = environment.parsed_options
    assert options is not None
    if options.num_users not in (None, load.locust_users):
        yield f"--users {options.num_users}"
    if options.spawn_rate not in (None, load.locust_spawn_rate):
        yield f"--spawn-rate {options.spawn_rate:g}"
    if options.hs_events != "batch":
        yield f"--hs-events {options.hs_events}"
    if environment.shape_class is not None:
        yield f"shape {type(environment.shape_class).__name__}"
    classes = sorted(environment.user_classes, key=lambda cls: cls.__name__)
    if not all(issubclass(cls, HandlerSocketUser) for cls in classes):
        for cls in classes:
            yield f"{cls.__name__} {f'fixed_count {cls.fixed_count}' if cls.fixed_count else f'weight {cls.weight:g}'}"
    for name, weights in sorted(task_weights(classes).items()):
        yield f"{name}: {', '.join(f'{task} {weight}' for task, weight in weights.items())}"
