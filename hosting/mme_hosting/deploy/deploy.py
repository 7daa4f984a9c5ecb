"""`mme deploy`: what there is becomes what there should be."""

from __future__ import annotations

from dataclasses import dataclass

from mme_hosting.context import Context
from mme_hosting.deploy import health
from mme_hosting.deploy.apply import Run, apply, take_up
from mme_hosting.deploy.plan import Plan, make_plan
from mme_hosting.deploy.present import Present, look
from mme_hosting.deploy.resources import Resources, resources
from mme_hosting.deploy.wait import Progress


@dataclass(frozen=True)
class Prepared:
    """A plan, and what it was made of."""

    wanted: Resources
    present: Present
    plan: Plan
    run: Run


def prepare(context: Context, progress: Progress, dry_run: bool = False) -> Prepared:
    """Make a plan. What is under way is waited for, unless it is a dry run.

    Raises:
        HostingError: a setting is wrong, AWS cannot be asked, or what was under way has failed.
    """
    wanted = resources(context)
    check = context.deployment.health_check
    if check:
        health.body(check)  # it is better to know now

    def answers() -> None:
        if check:
            seconds = health.check(context, check)
            progress.say(f"{check.model} has answered the health check after {seconds:.1f} s")

    run = Run(context.aws, wanted.name, wanted.config_name, progress, answers)
    if not dry_run:
        take_up(run)
    present = look(context.aws, context.name, wanted)
    return Prepared(wanted, present, make_plan(wanted, present), run)


def deploy(prepared: Prepared) -> None:
    """Carry out a plan.

    Raises:
        HostingError: it ends otherwise.
    """
    apply(prepared.plan, prepared.present, prepared.run)
