"""Which results exist, where they lie and what each is made from: derived from `benchmarks/`, no torch."""

from kdx2i.plan.address import command, leaf_at
from kdx2i.plan.core import Plan
from kdx2i.plan.leaf import Leaf
from kdx2i.plan.registry import implemented, modes, transfers
from kdx2i.plan.table import BudgetLine, Cell, TablePlan

__all__ = ["BudgetLine", "Cell", "Leaf", "Plan", "TablePlan", "command", "implemented", "leaf_at", "modes", "transfers"]
