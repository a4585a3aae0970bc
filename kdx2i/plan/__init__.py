"""Which results exist, where they lie and what each is made from: derived from `benchmarks/`, no torch."""

from kdx2i.plan.core import Plan
from kdx2i.plan.kinds import KINDS, Kind
from kdx2i.plan.leaf import Leaf
from kdx2i.plan.suite_catalogue import Catalogue
from kdx2i.plan.table_plans import BudgetLine, CellPlan, TablePlan

__all__ = ["KINDS", "BudgetLine", "Catalogue", "CellPlan", "Kind", "Leaf", "Plan", "TablePlan"]
